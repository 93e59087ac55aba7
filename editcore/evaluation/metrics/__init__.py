"""Metrics of one edit, from the model's answers before and after it."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from editcore.errors import PluginError, in_one_line
from editcore.registry.hookspecs import MetricInfo
from editcore.registry.registry import Registry, resolve_factory

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, CaseQuestions, Question
    from editcore.models.loading import LoadedModel


@dataclass(frozen=True)
class MetricInput:
    """What a metric is given of one edit.

    `before` and `after` hold the answers to `questions.all()` and to the metric's own questions
    (`MetricInfo.questions`). To ask the edited model anything else, use
    `with case.edited() as model:`, a block in which the edit is in place.
    """

    questions: "CaseQuestions"
    before: "Answers"
    after: "Answers"
    edited: "Callable[[], AbstractContextManager[LoadedModel]]"


Metric = Callable[[MetricInput], Mapping[str, float | None]]
"""Returns the columns that it declares, for one edit; None if there is nothing to measure."""

Asking = Callable[["CaseQuestions"], Iterable["Question"]]
"""Returns what a metric asks about a case besides `CaseQuestions.all()`."""


@dataclass(frozen=True)
class NamedMetric:
    """A metric, checked to return the columns that it declares, each a number or None.

    `asking` returns the questions that it needs besides those of every study; None if none.
    """

    info: MetricInfo
    function: Metric
    asking: Asking | None = None

    def __call__(self, case: MetricInput) -> Mapping[str, float | None]:
        """The columns of one edit; `PluginError` for any error of the metric."""
        try:
            found = self.function(case)
            if odd := found.keys() ^ set(self.info.columns):
                declared = ", ".join(self.info.columns)
                raise PluginError(
                    f"it declares {declared}, and {min(odd)} is missing or not one of these; "
                    "report this to its authors"
                )
            return {name: number(name, value) for name, value in found.items()}
        except Exception as error:  # a third party's metric may raise anything
            raise PluginError(f"metric {self.info.name}: {in_one_line(error)}") from error


def bind(
    names: Iterable[str], registry: Registry, reserved: Iterable[str] = ()
) -> tuple[NamedMetric, ...]:
    """The metrics that a job names, in its order.

    Raises `PluginError` if one is not installed, or provides a column that is another's or one of
    `reserved`.
    """
    found = [registry.metrics[name].record for name in names]
    owners = dict.fromkeys(reserved, "every row")
    for info in found:
        for column in info.columns:
            if (owner := owners.setdefault(column, f"metric {info.name}")) != f"metric {info.name}":
                raise PluginError(
                    f"metric {info.name} provides the column {column!r}, which {owner} "
                    "already has; leave it out of the study's metrics"
                )
    return tuple(
        NamedMetric(
            info,
            resolve_factory(info.factory),
            resolve_factory(info.questions) if info.questions else None,
        )
        for info in found
    )


def number(column: str, value: float | None) -> float | None:
    """A plugin's value as a float or None; raises if it is NaN or not a number."""
    if value is None:
        return None
    if math.isnan(value := float(value)):
        raise PluginError(f"{column} is NaN; give None where nothing can be measured")
    return value


def mean_or_none(values: list[float]) -> float | None:
    """The mean, or None if there is nothing to average: not measured is not zero.

    >>> mean_or_none([0.0, 1.0]), mean_or_none([])
    (0.5, None)
    """
    return sum(values) / len(values) if values else None
