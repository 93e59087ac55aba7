"""Efficacy, paraphrase and neighbourhood score: which object is more probable.

Meng et al. 2022, §3.4. The share of prompts at which the new object is more probable than the true
one (efficacy, paraphrases), and the other way round at the neighbours. Probability is that of the
mean token, as the published code has it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore.evaluation.metrics import MetricInput, mean_or_none

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, Question

COLUMNS = ("efficacy_score", "paraphrase_score", "neighborhood_score")


def score(case: MetricInput) -> dict[str, float | None]:
    """The three columns for one edit; None where the record lacks the object or the prompts."""
    questions, request, after = case.questions, case.questions.request, case.after
    new, true = request.target_new, request.target_true
    columns: dict[str, float | None] = dict.fromkeys(COLUMNS)
    columns["neighborhood_score"] = _share(after, questions.neighbours(), questions.neighbours(new))
    if true:
        columns["efficacy_score"] = _share(after, questions.rewrite(new), questions.rewrite(true))
        columns["paraphrase_score"] = _share(
            after, questions.paraphrases(new), questions.paraphrases(true)
        )
    return columns


def _share(
    after: "Answers", wanted: "Sequence[Question]", other: "Sequence[Question]"
) -> float | None:
    """Share of pairs whose wanted object is the more probable; a comparison with NaN is lost."""
    pairs = zip(wanted, other, strict=True)
    return mean_or_none(
        [float(after[w].log_probability > after[o].log_probability) for w, o in pairs]
    )
