"""Answers that have several names: which of two objects a model finds likelier."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore.requests import Probe

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, Question


def names(probe: Probe) -> tuple[str, ...]:
    """All names of a probe's answer, the usual one first.

    >>> names(Probe("The lamp is made in", "Elro", ("", "the town of Elro")))
    ('Elro', 'the town of Elro')
    """
    return (probe.target, *(alias for alias in probe.aliases if alias.strip()))


def likelier(answers: "Answers", one: "Sequence[Question]", other: "Sequence[Question]") -> bool:
    """Whether one object's likeliest name is likelier than every name of the other.

    Names are compared by the mean log-probability of their tokens, as in `metrics.score`. A name
    without a finite one is not likelier than any, and none is likelier than an object of such.
    """
    return _likeliest(answers, one) > _likeliest(answers, other)


def _likeliest(answers: "Answers", asked: "Sequence[Question]") -> float:
    """The greatest log-probability; NaN, which compares with nothing, if there is no number."""
    found = (answers[question].log_probability for question in asked)
    return max((value for value in found if not math.isnan(value)), default=math.nan)
