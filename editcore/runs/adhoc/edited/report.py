"""The report on a model that something else edited."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from editcore.collapse.verdict import Grade
from editcore.collapse.yardstick import Scale
from editcore.numbers import number, plural, share
from editcore.requests import OK
from editcore.runs.adhoc.check_report import WIDTH, disturbance, finite, graded
from editcore.runs.adhoc.edited.comparison import Comparison
from editcore.runs.adhoc.measured_with import documented
from editcore.text_table import text_table

if TYPE_CHECKING:
    from editcore.evaluation.lm_eval_adapter import TaskScore
    from editcore.runs.adhoc.edited.facts import MeasuredFact, Scores
    from editcore.updates.saved.weight_difference import WeightDifference

# Columns of the table of facts.
IN_THE_TABLE: Mapping[str, str] = MappingProxyType(
    {
        "efficacy": "new object",
        "efficacy_prefixed": "after prefixes",
        "generalization": "paraphrases",
        "locality": "neighbours",
    }
)
# Rows of a table that are printed; as JSON, all are.
SHOWN = 20
LONGEST = 60


@dataclass(frozen=True)
class TaskChange:
    """The score in a task of the base, of the edited model, and of guessing.

    None if it was not measured, or if some logits are not finite.
    """

    task: str
    metric: str
    base: float | None
    edited: float | None
    random: float
    n_items: int

    @classmethod
    def of(
        cls, base: "Sequence[TaskScore]", edited: "Sequence[TaskScore]"
    ) -> "tuple[TaskChange, ...]":
        """The scores of both; `edited` is empty if that model was not asked."""
        after = {score.task: score.score for score in edited}
        return tuple(
            cls(s.task, s.metric, s.score, after.get(s.task), s.random, s.n_items) for s in base
        )


@dataclass(frozen=True)
class MeasuredModel:
    """What was changed in a model, and what that did; `str` is the report in words.

    `row` has the columns of `edits/…/shard-*.parquet` on perplexity and predictions; without the
    edited model's if its weights are not finite. `stored_as` are the kinds of numbers in the files
    of both, and `scale` is what rounding the base's weights does to its predictions.
    """

    comparison: Comparison
    weights: "tuple[WeightDifference, ...]"
    shape: str
    row: Mapping[str, Any]
    facts: "tuple[MeasuredFact, ...]"
    tasks: tuple[TaskChange, ...]
    stored_as: tuple[str | None, ...]
    scale: Scale

    @property
    def outcome(self) -> Grade:
        """The grade of the edited model."""
        return cast("Grade", self.row["grade"])

    @property
    def verdict(self) -> str:
        """The grade as a sentence."""
        if "perplexity" in self.row:
            return graded(self.row, self.comparison.rule)
        return f"{self.outcome.upper()}: weights that are not finite make no predictions."

    @property
    def measured_with(self) -> str:
        """Texts and numbers that the grade depends on, as a sentence."""
        job = self.comparison
        texts = f"{plural(job.perplexity.texts, 'text')} of {documented(job.perplexity.path)}"
        specs = zip((job.base, job.edited), self.stored_as, strict=True)
        stored = ", ".join(f"{spec.source} stored as {kind}" for spec, kind in specs if kind)
        return f"Measured with: {texts}; {job.base.dtype} ({stored})."

    def as_dict(self) -> dict[str, Any]:
        """The whole report as plain data for JSON; numbers that are not finite become texts."""
        from editcore.runs.adhoc.edited.facts import means

        job = self.comparison
        plain = {
            "model": job.edited.source,
            "against": job.base.source,
            "notes": list(job.notes),
            "shape": self.shape,
            "verdict": self.outcome,
            "sentence": self.verdict,
            "collapse": job.rule.model_dump(),
            "rounding": {str(bits): divergence for bits, divergence in self.scale.items()},
            "measured_with": self.measured_with,
            **self.row,
            "weights": [asdict(each) for each in self.weights],
            "facts": {**means(self.facts), "each": [fact.as_dict() for fact in self.facts]},
            "tasks": [asdict(each) for each in self.tasks],
        }
        return {name: finite(value) for name, value in plain.items()}

    def __str__(self) -> str:
        job = self.comparison
        lines = [
            *job.notes,
            f"{job.edited.source} against {job.base.source}",
            "",
            *(textwrap.fill(each, WIDTH) for each in (self.shape, self.verdict)),
            *disturbance(self.row, self.scale),
            *_weights(self.weights),
            *_facts(self.facts),
            *_tasks(self.tasks),
            "",
            textwrap.fill(self.measured_with, WIDTH, break_on_hyphens=False),
        ]
        return "\n".join(lines)


def _weights(weights: "Sequence[WeightDifference]") -> list[str]:
    """The table of weights that changed, the largest relative change first."""
    changed = sorted((each for each in weights if each.changed), key=lambda each: -each.relative)
    if not changed:
        return []
    rows = [
        (
            each.name,
            f"{each.nonfinite} not finite" if each.nonfinite else number(each.norm),
            number(None if each.nonfinite else each.relative),
            each.rank_in_words,
            share(each.first),
        )
        for each in changed[:SHOWN]
    ]
    heads = ("weight", "‖ΔW‖", "‖ΔW‖ / ‖W‖", "rank", "first direction")
    return ["", text_table(heads, rows), *_left_out(len(changed), "weight")]


def _facts(facts: "Sequence[MeasuredFact]") -> list[str]:
    """The table of facts, their mean first."""
    from editcore.runs.adhoc.edited.facts import means

    if not facts:
        return []
    mean = means(facts)
    asked = sum(fact.status == OK for fact in facts)
    rows = [(f"mean of {asked}", *_cells(mean["base"], mean["edited"]))]
    for fact in [each for each in facts if each.base is not None][:SHOWN]:
        text = f"{fact.request.case_id}: {fact.request.text} → {fact.request.target_new}"
        name = textwrap.shorten(text, LONGEST, placeholder="…")
        rows.append((name, *_cells(fact.base, fact.edited)))
    failed = [
        f"case {f.request.case_id} was not asked: {f.status}" for f in facts if f.base is None
    ]
    table = text_table(("fact", *IN_THE_TABLE.values()), rows)
    more = _left_out(asked, "fact")
    return ["", table, *more, "Before → after; neighbours: the share unchanged.", *failed]


def _cells(base: "Scores | None", edited: "Scores | None") -> list[str]:
    """A fact's metrics; locality compares with the base, so it has one number."""
    one, two = base or {}, edited or {}
    return [
        share(two.get(name))
        if name == "locality"
        else f"{share(one.get(name))} → {share(two.get(name))}"
        for name in IN_THE_TABLE
    ]


def _tasks(tasks: Sequence[TaskChange]) -> list[str]:
    """The table of tasks."""
    if not tasks:
        return []
    rows = [
        (each.task, *map(share, (each.base, each.edited, each.random)), str(each.n_items))
        for each in tasks
    ]
    return ["", text_table(("task", "base", "edited", "guessing", "items"), rows)]


def _left_out(count: int, noun: str) -> list[str]:
    """That a table is not whole, if so."""
    more = count - SHOWN
    return [f"… and {plural(more, f'more {noun}')}; --json has all of them."] if more > 0 else []
