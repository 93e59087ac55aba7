"""Progress of long work, with the time left: a bar in a terminal, lines in a log file."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

TERMINAL_SECONDS = 0.5
# Seconds between lines in a log file.
FILE_SECONDS = 10.0
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s ({percentage:.0f} %), {elapsed}, {remaining} left"


class _Lines(tqdm):  # type: ignore[misc]
    """A bar that writes each state on a new line, since a file has no carriage return."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """A function that writes one state."""

        def write(state: str) -> None:
            if state.strip():
                file.write(f"{state.strip()}\n")
                file.flush()

        return write


def progress_bar(
    work: Iterable[Any] | None = None,
    *,
    title: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    shown: bool = True,
) -> Any:
    """A tqdm bar on standard error, over `work` or updated by hand."""
    what = {"desc": title, "unit": unit, "total": total, "initial": initial, "disable": not shown}
    if sys.stderr.isatty():
        return tqdm(work, **what, mininterval=TERMINAL_SECONDS, dynamic_ncols=True)
    often = {"mininterval": FILE_SECONDS, "maxinterval": FILE_SECONDS}
    # A second bar would otherwise move the cursor to a line of its own.
    return _Lines(work, **what, **often, bar_format=LINE, position=0)


def note(text: str) -> None:
    """A line on standard error, in a terminal above its bars."""
    if sys.stderr.isatty():
        tqdm.write(text, file=sys.stderr)
    else:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
