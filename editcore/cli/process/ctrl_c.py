"""Notes Ctrl-C when it is pressed, because libraries may replace the exception that it raises."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN = 0.01  # seconds


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """A block with a function that returns whether Ctrl-C was pressed in it.

    `KeyboardInterrupt` is raised as usual. Where Python would only print it, as in a `__del__`, it
    is raised again a moment later. If Ctrl-C is ignored or has another handler, and outside the
    main thread, nothing is noted.
    """
    pressed: list[int] = []
    thread, print_only = threading.get_ident(), sys.unraisablehook

    def note(number: int, frame: FrameType | None) -> NoReturn:
        pressed.append(number)
        raise KeyboardInterrupt

    def again() -> None:
        if signal.getsignal(signal.SIGINT) is note:
            signal.pthread_kill(thread, signal.SIGINT)

    def lost(raised: "UnraisableHookArgs") -> None:
        if raised.exc_type is KeyboardInterrupt:
            threading.Timer(AGAIN, again).start()
        else:
            print_only(raised)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = lost
    try:
        yield lambda: bool(pressed)
    finally:
        sys.unraisablehook = print_only
        signal.signal(signal.SIGINT, signal.default_int_handler)
