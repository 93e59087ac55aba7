"""Pauses Python's garbage collector while torch and models are loaded."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """A block that creates long-lived objects, such as imports, without garbage collection.

    The collector would scan the same objects repeatedly, for a quarter of the block's time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
