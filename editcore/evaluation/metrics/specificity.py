"""Specificity where it fails most easily: neighbours after the edited fact itself.

Hoelscher-Obermaier et al. 2023 (Detecting Edit Failures in Large Language Models: An Improved
Specificity Benchmark) put the edited fact in front of each neighbour's prompt (COUNTERFACT+), and
compare next-token distributions by their Kullback-Leibler divergence, which moves long before the
likeliest object changes. The divergence is D(p || q) of the edited model's q from the unedited
model's p at the one token after the prompt; `editcore.evaluation.disturbance` says how tokens that
p makes unlikely are counted. Both models read the same text, so the sentence alone moves nothing;
what it does to the score of the unedited model is in a column of its own.
"""

from typing import TYPE_CHECKING

from editcore.evaluation.metrics import MetricInput, mean_or_none
from editcore.evaluation.metrics.names import likelier

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, CaseQuestions, Question

COLUMNS = (
    "neighbour_kl",
    "neighbour_kl_after_edit",
    "neighborhood_score_after_edit",
    "neighborhood_score_after_edit_base",
)


def questions(case: "CaseQuestions") -> "list[Question]":
    """Each neighbour after the edited fact, with its own object and with the new one."""
    return [*_after_edit(case), *_after_edit(case, case.request.target_new)]


def specificity(case: MetricInput) -> dict[str, float | None]:
    """The four columns for one edit; None if the record has no neighbours."""
    return {
        "neighbour_kl": _divergence(case.after, case.questions.neighbours()),
        "neighbour_kl_after_edit": _divergence(case.after, _after_edit(case.questions)),
        "neighborhood_score_after_edit": _score(case.questions, case.after),
        "neighborhood_score_after_edit_base": _score(case.questions, case.before),
    }


def _after_edit(case: "CaseQuestions", target: str | None = None) -> "list[Question]":
    """Each neighbour after the edited fact, with its own object or with `target`."""
    request, turn = case.request, case.request.turn
    sentence = f"{turn.said(request.text)} {request.target_new}."
    return [
        asked
        for probe in request.neighbours
        for asked in case.scored(
            turn.of(f"{sentence} {turn.said(probe.prompt)}"), target or probe.target
        )
    ]


def _divergence(after: "Answers", asked: "list[Question]") -> float | None:
    moved = [after[question].first_divergence for question in asked]
    return mean_or_none([each for each in moved if each is not None])


def _score(case: "CaseQuestions", answers: "Answers") -> float | None:
    """The share of neighbours whose own object is likelier than the new one."""
    pairs = zip(_after_edit(case), _after_edit(case, case.request.target_new), strict=True)
    return mean_or_none([float(likelier(answers, [own], [new])) for own, new in pairs])
