"""Metrics of one edit, from what the model said before and after it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editcore.answers import Answers, CaseQuestions
    from editcore.models import LoadedModel


@dataclass(frozen=True)
class MetricInput:
    """What a metric sees of one edit.

    `before` and `after` hold the answers to `questions.all()`. A metric that asks the edited model
    more does it inside `with case.edited() as model:`, where the edit is in place.
    """

    questions: "CaseQuestions"
    before: "Answers"
    after: "Answers"
    edited: "Callable[[], AbstractContextManager[LoadedModel]]"


Metric = Callable[[MetricInput], Mapping[str, float | None]]


def mean(values: list[float]) -> float | None:
    """The mean, or None where there is nothing to average: not measured is not zero.

    >>> mean([0.0, 1.0]), mean([])
    (0.5, None)
    """
    return sum(values) / len(values) if values else None
