"""Overfit edits: the new object is likely where another answer is right.

Zhang et al. 2024 (EVOKE, arXiv 2410.07819): an edited model gives the edit's target after prompts
that are only related to the fact. Their Editing Overfit Score is the share of prompts after which
the right answer is likelier than the target; the columns here are the complement, so that more is
worse, after neighbours and after consequences. Prompts whose answer is the new object are left out.
Objects are compared by the mean log-probability of their tokens, as in `metrics.score`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from editcore.evaluation.metrics import MetricInput, mean_or_none
from editcore.evaluation.metrics.names import likelier, names
from editcore.requests import EditRequest, Probe

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, CaseQuestions, Question

COLUMNS = (
    "overfit_neighbours",
    "overfit_neighbours_base",
    "overfit_consequences",
    "overfit_consequences_base",
)


def questions(case: "CaseQuestions") -> "list[Question]":
    """The new object, and every name of the right answer, after prompts with another answer."""
    request = case.request
    probes = _elsewhere(request, (*request.neighbours, *request.consequences))
    return [
        asked
        for probe in probes
        for asked in case.scored(probe.prompt, request.target_new, *names(probe))
    ]


def overfit(case: MetricInput) -> dict[str, float | None]:
    """The four columns for one edit; None if the record has no such prompts."""
    request = case.questions.request
    columns: dict[str, float | None] = {}
    for kind, probes in (
        ("neighbours", request.neighbours),
        ("consequences", request.consequences),
    ):
        columns[f"overfit_{kind}"] = _share(case.questions, case.after, probes)
        columns[f"overfit_{kind}_base"] = _share(case.questions, case.before, probes)
    return columns


def _share(asked: "CaseQuestions", answers: "Answers", probes: Iterable[Probe]) -> float | None:
    """The share of prompts with another answer after which the new object is likelier."""
    new = asked.request.target_new
    return mean_or_none(
        [
            float(
                likelier(
                    answers,
                    asked.scored(probe.prompt, new),
                    asked.scored(probe.prompt, *names(probe)),
                )
            )
            for probe in _elsewhere(asked.request, probes)
        ]
    )


def _elsewhere(request: EditRequest, probes: Iterable[Probe]) -> list[Probe]:
    """The probes whose answer is not the new object, under any of its names."""
    new = {name.strip().casefold() for name in (request.target_new, *request.aliases)}
    return [
        probe
        for probe in probes
        if new.isdisjoint(name.strip().casefold() for name in names(probe))
    ]
