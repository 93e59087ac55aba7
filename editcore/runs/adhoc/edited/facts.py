"""Facts asked of a model before and after it was edited."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from editcore.errors import RequestError
from editcore.evaluation.metrics import MetricInput, mean_or_none
from editcore.evaluation.metrics.accuracy import accuracy
from editcore.evaluation.teacher_forcing import (
    Answers,
    CaseQuestions,
    TokenizedQuestions,
    tokenize_questions,
)
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.models.loading import LoadedModel
from editcore.requests import OK, EditRequest

Scores = Mapping[str, float | None]
METRICS = ("efficacy", "generalization", "locality")
COLUMNS = tuple(f"{name}{ending}" for name in METRICS for ending in ("", "_prefixed"))


@dataclass(frozen=True)
class MeasuredFact:
    """A fact, and its metrics in both models by column; None if it, or a model, was not asked.

    `status` is the reason if the fact cannot be asked. Locality compares with the base.
    """

    request: EditRequest
    status: str
    base: Scores | None = None
    edited: Scores | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        request = self.request
        about = {"case_id": request.case_id, "prompt": request.text, "subject": request.subject}
        about |= {"target_new": request.target_new, "status": self.status}
        return {**about, "base": self.base, "edited": self.edited}


@dataclass(frozen=True)
class AskedFact:
    """A fact's questions in tokens; None, and the reason as `status`, if it cannot be asked."""

    request: EditRequest
    questions: CaseQuestions | None
    tokens: TokenizedQuestions | None
    status: str = OK

    @classmethod
    def of(cls, model: LoadedModel, request: EditRequest, prefixes: ContextPrefixes) -> "AskedFact":
        """The questions that every study asks, after the test prefixes that it would draw."""
        if request.flaw:
            return cls(request, None, None, request.flaw)
        first, *further = prefixes.for_tests(prefixes.seed, request.case_id)
        questions = CaseQuestions(request, first, tuple(further))
        try:
            return cls(request, questions, tokenize_questions(model, questions.all()))
        except RequestError as error:
            return cls(request, None, None, str(error))


def measured(
    asked: Sequence[AskedFact], before: Sequence[Answers], after: Sequence[Answers]
) -> list[MeasuredFact]:
    """The metrics of each fact; the answers are those to the facts that can be asked, in order.

    `after` is empty if the edited model was not asked.
    """
    answers = zip_longest(before, after)
    found = []
    for each in asked:
        if each.questions is None:
            found.append(MeasuredFact(each.request, each.status))
            continue
        one, two = next(answers)
        scores = [None if own is None else _scores(each.questions, one, own) for own in (one, two)]
        found.append(MeasuredFact(each.request, OK, *scores))
    return found


def _scores(questions: CaseQuestions, before: Answers, after: Answers) -> Scores:
    found = accuracy(MetricInput(questions, before, after, _nothing_else))
    return {name: found[name] for name in COLUMNS}


def _nothing_else() -> AbstractContextManager[LoadedModel]:
    raise AssertionError("these metrics ask nothing besides the questions of every study")


def means(facts: Sequence[MeasuredFact]) -> dict[str, Scores | None]:
    """The mean of each metric over the facts that have it, in both models."""
    return {
        "base": _mean([fact.base for fact in facts if fact.base is not None]),
        "edited": _mean([fact.edited for fact in facts if fact.edited is not None]),
    }


def _mean(scores: Sequence[Scores]) -> Scores | None:
    if not scores:
        return None
    return {
        name: mean_or_none([value for each in scores if (value := each[name]) is not None])
        for name in COLUMNS
    }
