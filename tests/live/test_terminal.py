"""The live block is replaced in place, and what is written above it stays."""

import io
import os
import re

import pytest

from editcore.live.terminal import LiveBlock

WRITTEN = re.compile(r"\x1b\[(\d+)F|(\r\x1b\[J)|([^\x1b\r\n]+)|(\n)")


class Screen(io.StringIO):
    """A terminal that understands what `LiveBlock` writes: lines, up N lines, clear below."""

    columns = 40

    @property
    def rows(self) -> list[str]:
        """The lines on the screen."""
        rows, at = [""], 0
        text = re.sub(r"\x1b\[\d*m", "", self.getvalue())
        for up, clear, line, end in re.findall(
            r"\x1b\[(\d+)F|(\r\x1b\[J)|([^\x1b\r\n]+)|(\n)", text
        ):
            if up:
                at = max(at - int(up), 0)
            elif clear:
                rows = [*rows[:at], ""]
            elif line:
                for first in range(0, len(line), self.columns):
                    at += first > 0
                    rows += [""] * (at + 1 - len(rows))
                    rows[at] = line[first : first + self.columns]
            elif end:
                at += 1
                rows += [""] * (at + 1 - len(rows))
        return rows[:-1]


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_a_block_is_replaced_and_removed(screen: Screen) -> None:
    block = LiveBlock(screen, color=True)
    block.draw(["one", "two", "three"])
    block.draw(["four"])
    assert screen.rows == ["four"]
    block.above(["a message", "of two lines"])
    assert screen.rows == ["a message", "of two lines", "four"]
    block.close()
    assert screen.rows == ["a message", "of two lines"]
    block.draw(["late"])
    block.above(["the end"])
    assert screen.rows == ["a message", "of two lines", "the end"]


def test_a_terminal_that_became_narrower_is_cleared_whole(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = LiveBlock(screen, color=False)
    block.draw(["x" * 40, "y"])
    screen.columns = 20  # the long line now takes two rows
    monkeypatch.setattr(block, "size", lambda: os.terminal_size((20, 24)))
    block.draw(["z"])
    assert screen.rows == ["z"]


def test_without_color_nothing_is_bold(screen: Screen) -> None:
    LiveBlock(screen, color=False).draw(["plain"])
    assert screen.getvalue() == "plain\n"


def test_a_stream_without_a_size_counts_as_a_usual_terminal(screen: Screen) -> None:
    assert LiveBlock(screen, color=False).size() == (80, 24)
