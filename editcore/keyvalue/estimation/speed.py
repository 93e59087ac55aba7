"""How long an estimation of C takes, by the time of a little of it before it starts."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from editcore.keyvalue.estimation.moment_accumulator import MomentSums, keys_of
from editcore.keyvalue.estimation.own_texts import LENGTH
from editcore.numbers import duration

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

# More and more rows are read, until it took long enough; the first time is never the last.
WARM_UP_ROWS, WARM_UP_SECONDS = (1, 2, 4, 8), 1.0
MINUTE = 60


@torch.no_grad()
def reading_speed(model: "LoadedModel", layers: Sequence[int]) -> float:
    """Tokens that are read in a second, k kᵀ included. Which tokens does not matter."""
    length = min(LENGTH, model.max_positions)
    row = [i % int(model.model.config.vocab_size) for i in range(length)]
    for rows in WARM_UP_ROWS:
        started, sums = time.perf_counter(), MomentSums()
        sums.add(keys_of(model, layers, [row] * rows))
        for total in sums.by_layer.values():
            total.sum().item()  # waits for a graphics card
        seconds = time.perf_counter() - started
        if seconds > WARM_UP_SECONDS and rows > WARM_UP_ROWS[0]:
            break
    return rows * length / seconds


def announced(work: str, tokens: int, seconds: float, tolerance: float | None = None) -> str:
    """A line that names some work, the time that its tokens take, and the speed.

    With a tolerance, the work may end before all tokens are read.

    >>> announced("let m write 60,000 tokens of text", 60_000, 600.0)
    'let m write 60,000 tokens of text: about 10 min (100 tokens/s measured)'
    >>> announced("estimate C", 1000, 4.2, tolerance=0.05)
    'estimate C: at most about 5 s (238 tokens/s measured); ends when C⁻¹k moves by less than 0.05'
    """
    whole = math.ceil(seconds) if seconds < 2 * MINUTE else MINUTE * math.ceil(seconds / MINUTE)
    least = "about" if tolerance is None else "at most about"
    end = "" if tolerance is None else f"; ends when C⁻¹k moves by less than {tolerance:g}"
    return f"{work}: {least} {duration(whole)} ({tokens / seconds:,.0f} tokens/s measured){end}"
