"""An edit at 8 and 4 bits: whether the model still gives the fact, and its grade.

It is in the weights that are rounded or, as an adapter, beside them. Either way the comparison is
with the unedited model, rounded alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from editcore.collapse.verdict import Grade, judge
from editcore.config.collapse import CollapseSection
from editcore.numbers import in_percent, share, times
from editcore.text_table import text_table

if TYPE_CHECKING:
    from editcore.runs.edit import Shard
    from editcore.updates.delta import Delta


@dataclass(frozen=True)
class RoundedEdit:
    """One way to round, with `adapter` without the edit; efficacy is as in the edit rows.

    `rounded_as` is the format of the rounded weights.
    """

    bits: int
    rounded_as: str | None
    adapter: bool
    grade: Grade | None
    efficacy: float
    efficacy_unedited: float
    perplexity: float
    perplexity_unedited: float
    top1_kept: float

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return dict(vars(self))


def rounded_edits(shard: "Shard", delta: "Delta", rule: CollapseSection) -> list[RoundedEdit]:
    """The edit of a shard's first request, rounded in each way; the weights stay as they are.

    Raises `ModelError` if the model's weights are quantised already.
    """
    from editcore.evaluation.rounding import BITS, compression
    from editcore.evaluation.teacher_forcing import CaseQuestions, tokenize_questions
    from editcore.evaluation.treatments.treated import compressed
    from editcore.requests import SLOT

    model, texts, request = shard.rows.model, shard.rows.edited.texts, shard.requests[0]
    (fact,) = CaseQuestions(request, SLOT).rewrite(request.target_new)
    asked = [tokenize_questions(model, [fact])]
    found = []
    for bits in BITS:
        how = compression(bits, model.device)
        for adapter in (False, True):
            (made,) = compressed(model, texts, how, asked, [delta], beside=adapter)
            assert made.edited.disturbance is not None
            base, kept = made.unedited.mean, made.edited.disturbance.kept
            grade = judge(made.edited.mean, base, rule, kept).grade
            efficacy = made.after[fact].accuracy, made.before[fact].accuracy
            measured = (grade, *efficacy, made.edited.mean, base, kept)
            found.append(RoundedEdit(bits, how.rounded_as, adapter, *measured))
    return found


def table(edits: Sequence[RoundedEdit]) -> str:
    """The edits as a table for people."""
    heads = (
        "bits",
        "rounded as",
        "the edit is",
        "grade",
        "perplexity",
        "changed tokens",
        "efficacy",
        "unedited",
    )
    rows = [
        (
            str(each.bits),
            str(each.rounded_as),
            "beside the weights, as an adapter" if each.adapter else "in the weights",
            str(each.grade),
            times(each.perplexity / each.perplexity_unedited),
            in_percent(1 - each.top1_kept),
            share(each.efficacy),
            share(each.efficacy_unedited),
        )
        for each in edits
    ]
    return text_table(heads, rows)
