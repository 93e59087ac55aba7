"""Paired statistics: did the same cases do worse, by more than chance explains?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Outcome = Literal["worse", "better", "unchanged"]

# A p-value below this is significant; intervals are of 1 minus it.
SIGNIFICANCE = 0.05
# An interval must exclude zero by more than this.
MARGIN = 0.01
# Fewer pairs decide nothing: five cases that all got worse have p = 1/16 in a sign test.
FEWEST = 6
RESAMPLES = 2000
# If more differences than this are distinct, they are rounded to three decimals, which bounds time
# and memory: differences of shares then have at most 2,001 values.
MOST_DISTINCT = 2001


def overall(outcomes: Iterable[Outcome]) -> Outcome:
    """`worse` if any of them is; otherwise `better` if any is.

    >>> overall(["unchanged", "better", "worse"]), overall([])
    ('worse', 'unchanged')
    """
    found = set(outcomes)
    return "worse" if "worse" in found else "better" if "better" in found else "unchanged"


@dataclass(frozen=True)
class Moved:
    """How many cases got worse and better, and the p-value of the two-sided exact sign test."""

    worse: int
    better: int

    @property
    def p_value(self) -> float:
        """How likely a split at least as uneven is if both directions are equally likely.

        >>> Moved(6, 0).p_value, Moved(0, 0).p_value
        (0.03125, 1.0)
        """
        n = self.worse + self.better
        return float(stats.binomtest(self.worse, n).pvalue) if n else 1.0

    @property
    def outcome(self) -> Outcome:
        """The direction that significantly more cases moved in."""
        if self.p_value >= SIGNIFICANCE:
            return "unchanged"
        return "worse" if self.worse > self.better else "better"


@dataclass(frozen=True)
class PairedMean:
    """The means of one metric over the same `n` cases, and their difference with its interval.

    Means are None if `n` is 0, and the interval if `n` is too small to decide anything.
    """

    n: int
    old: float | None
    new: float | None
    low: float | None
    high: float | None

    @property
    def difference(self) -> float | None:
        """New minus old."""
        return None if self.old is None or self.new is None else self.new - self.old

    @property
    def outcome(self) -> Outcome:
        """The side of zero on which the interval is by more than `MARGIN`; larger is better."""
        if self.low is None or self.high is None:
            return "unchanged"
        if self.high < -MARGIN:
            return "worse"
        return "better" if self.low > MARGIN else "unchanged"


def paired_mean(old: Sequence[float], new: Sequence[float], seed: int = 0) -> PairedMean:
    """The means of pairs, and the 95 % percentile interval of the mean difference.

    The interval is that of the bootstrap over pairs. Exchanging `old` and `new` mirrors it exactly.

    >>> found = paired_mean([1.0] * 8, [0.5] * 8)
    >>> found.difference, found.low, found.high, found.outcome
    (-0.5, -0.5, -0.5, 'worse')
    """
    before, after = np.asarray(old, float), np.asarray(new, float)
    if len(before) == 0:
        return PairedMean(0, None, None, None, None)
    means = len(before), float(before.mean()), float(after.mean())
    if len(before) < FEWEST:
        return PairedMean(*means, None, None)
    return PairedMean(*means, *_interval(after - before, seed))


def _interval(differences: np.ndarray, seed: int) -> tuple[float, float]:
    """The interval of their mean, by drawing how often each distinct difference occurs."""
    values, counts = np.unique(differences, return_counts=True)
    if len(values) > MOST_DISTINCT:
        values, counts = np.unique(np.round(differences, 3), return_counts=True)
    own = values.tolist(), counts.tolist()
    mirrored = (-values[::-1]).tolist(), counts[::-1].tolist()
    if mirrored < own:
        low, high = _interval(-differences, seed)
        return -high, -low
    n = len(differences)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=RESAMPLES)
    tail = SIGNIFICANCE / 2
    low, high = (float(end) for end in np.quantile(drawn @ values / n, (tail, 1 - tail)))
    reach = (high - low) / 2
    return (-reach, reach) if mirrored == own else (low, high)
