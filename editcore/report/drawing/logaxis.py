"""Logarithmic axes with few, readable ticks and a place for infinity."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from editcore.numbers import ten_to

MOST_TICKS = 7


@dataclass(frozen=True)
class LogScale:
    """The range of a logarithmic axis; `infinity` is where infinite values are drawn, if any."""

    low: float
    high: float
    infinity: float | None = None

    def place(self, value: float) -> float:
        """Where a positive value, or infinity, is drawn."""
        return value if math.isfinite(value) or self.infinity is None else self.infinity

    def ticks(self) -> list[float]:
        """Powers of ten in the range, thinned out; in a short range also 2 and 5 times them."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self._top()))
        step = max(1, math.ceil((last - first) / MOST_TICKS))
        steps = (1, 2, 5) if last - first <= 2 else (1,)
        values = [m * 10.0**p for p in range(first, last + 1, step) for m in steps]
        return [value for value in values if self.low <= value <= self._top()]

    def _top(self) -> float:
        """The upper end of the finite values; only infinity is above it."""
        return self.high if self.infinity is None else self.infinity / 2

    def apply(self, axes: Axes, which: Literal["x", "y"], every: int = 1) -> None:
        """Give the axis this scale, range and ticks, or only every `every`-th of them."""
        ticks = self.ticks()[::every]
        labels = [tick_label(value) for value in ticks]
        if self.infinity is not None:
            ticks, labels = [*ticks, self.infinity], [*labels, "∞"]
        axes.set(**{f"{which}scale": "log", f"{which}lim": (self.low, self.high)})
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_ticks(ticks, labels)
        axis.set_minor_locator(NullLocator())


def log_scale(values: Iterable[float], margin: float = 0.08) -> LogScale:
    """The scale for all positive `values`, at least a decade long; `margin` is a share of it."""
    values = list(values)
    finite = [math.log10(value) for value in values if 0 < value < math.inf]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    short = max(0.0, 1 - (high - low)) / 2
    low, high = low - short, high + short
    space = margin * (high - low)
    if not any(value == math.inf for value in values):
        return LogScale(10 ** (low - space), 10 ** (high + space))
    infinity = high + max(2 * space, 0.35)
    return LogScale(10 ** (low - space), 10 ** (infinity + space), 10**infinity)


def tick_label(value: float) -> str:
    """A tick's label: a plain number between 0.001 and 10,000, otherwise a power of ten.

    >>> [tick_label(x) for x in (0.01, 200.0, 10000.0, 1e6)]
    ['0.01', '200', '10,000', '10⁶']
    """
    power = round(math.log10(value))
    return f"{value:,g}" if -3 <= power <= 4 else ten_to(power)
