"""Notes Ctrl-C when it is pressed, because libraries may replace the exception that it raises."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """A block with a function that returns whether Ctrl-C was pressed in it.

    `KeyboardInterrupt` is raised as usual. If Ctrl-C is ignored or has another handler, and outside
    the main thread, nothing is noted.
    """
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> NoReturn:
        pressed.append(number)
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
