"""Efficacy, paraphrase and neighbourhood score: which object is more probable.

Meng et al. 2022, §3.4. The share of prompts after which the new object is more probable than the
true one (efficacy, paraphrases), and of neighbours' prompts after which it is less probable.
Objects are compared by the mean log-probability of their tokens, as in the published code.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore.evaluation.metrics import MetricInput, mean_or_none

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, Question

COLUMNS = ("efficacy_score", "paraphrase_score", "neighborhood_score")


def score(case: MetricInput) -> dict[str, float | None]:
    """The three columns for one edit; None if the record lacks the object or the prompts."""
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
    """Share of pairs in which the wanted object is more probable; with NaN, it is not."""
    pairs = zip(wanted, other, strict=True)
    return mean_or_none(
        [float(after[w].log_probability > after[o].log_probability) for w, o in pairs]
    )
