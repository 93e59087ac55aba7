"""Progress of long work with an estimate of the time left: a bar in a terminal, lines in a file."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

TERMINAL_SECONDS = 0.5
# A log file gets a line as often as someone who looks into it wants news.
FILE_SECONDS = 10.0
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s ({percentage:.0f} %), {elapsed}, {remaining} left"


class _Lines(tqdm):  # type: ignore[misc]
    """A bar whose every state is a line of its own, since a file has no carriage to return."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """What writes one state."""

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
    """A tqdm bar on the error stream, over `work` or to be updated by hand."""
    what = {"desc": title, "unit": unit, "total": total, "initial": initial, "disable": not shown}
    if sys.stderr.isatty():
        return tqdm(work, **what, mininterval=TERMINAL_SECONDS, dynamic_ncols=True)
    often = {"mininterval": FILE_SECONDS, "maxinterval": FILE_SECONDS}
    return _Lines(work, **what, **often, bar_format=LINE)
