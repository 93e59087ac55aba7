"""Python's garbage collector, out of the way while torch and models are loaded."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """A block that makes objects to stay, imports above all; the collector waits until its end.

    It would go over the same objects again and again, for a quarter of the time of such a block.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
