"""A block of lines at the end of a terminal's output, which is drawn again in place."""

import os
import threading
from collections.abc import Sequence
from typing import TextIO

CLEAR_BELOW = "\r\x1b[J"
UP = "\x1b[{}F"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
SMALLEST = os.terminal_size((20, 5))
USUAL = os.terminal_size((80, 24))


class LiveBlock:
    """Lines that stay below everything else that is written through this object.

    The cursor is always at the start of the line after the block, and is never hidden, so a
    process that is killed leaves a usable terminal.
    """

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._stream = stream
        self._color = color
        self._lines: Sequence[str] = ()
        self._closed = False
        self._lock = threading.RLock()  # a signal's handler may interrupt its own thread

    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal now; those of a usual one if it does not know."""
        try:
            now = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return USUAL
        if not now.columns or not now.lines:
            return USUAL
        return os.terminal_size((max(now.columns, SMALLEST[0]), max(now.lines, SMALLEST[1])))

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the block."""
        with self._lock:
            if not self._closed:
                self._write(self._cleared() + self._text(lines))
                self._lines = lines

    def above(self, lines: Sequence[str]) -> None:
        """Write lines that stay, and the block again below them."""
        with self._lock:
            block = "" if self._closed else self._text(self._lines)
            self._write(self._cleared() + "".join(f"{line}\n" for line in lines) + block)

    def close(self) -> None:
        """Remove the block for good."""
        with self._lock:
            if not self._closed:
                self._write(self._cleared())
                self._closed, self._lines = True, ()

    def _text(self, lines: Sequence[str]) -> str:
        if not lines:
            return ""
        first = f"{BOLD}{lines[0]}{PLAIN}" if self._color else lines[0]
        return "".join(f"{line}\n" for line in (first, *lines[1:]))

    def _cleared(self) -> str:
        """What moves the cursor to the block's start and clears all after it.

        A terminal that became narrower has broken the block's lines into several.
        """
        if not self._lines:
            return ""
        columns = self.size().columns
        rows = sum(max(1, -(-len(line) // columns)) for line in self._lines)
        return UP.format(rows) + CLEAR_BELOW

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
