"""How fast this machine multiplies matrices, measured in a fraction of a second without torch."""

import time

import numpy as np
from threadpoolctl import threadpool_limits

SIZE = 384
SECONDS = 0.2


def measured_speed(seconds: float = SECONDS) -> float:
    """Floating-point operations a second of one thread, in a float32 matrix product.

    The fastest of the products that fit in the given time, because other programs only slow it.
    """
    numbers = np.random.default_rng(0).standard_normal((SIZE, SIZE), np.float32)
    out = np.empty_like(numbers)
    best = float("inf")
    with threadpool_limits(1):
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end or best == float("inf"):
            np.matmul(numbers, numbers, out=out)
            best = min(best, time.perf_counter() - begun)
    return 2 * SIZE**3 / best
