"""Long work reports its progress and the remaining time, also in a file."""

import io
import sys

import pytest

from editcore import progress as module
from editcore.progress import note, progress_bar


class Terminal(io.StringIO):
    """An error stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_file_gets_lines_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr(module, "FILE_SECONDS", 0.0)
    assert list(progress_bar(range(4), title="edits of m", unit="edit", total=4)) == [0, 1, 2, 3]
    assert "\r" not in file.getvalue()
    lines = file.getvalue().strip().splitlines()
    assert lines[0].startswith("edits of m: 0 of 4 edits (0 %), ")
    assert lines[-1].startswith("edits of m: 4 of 4 edits (100 %), ")
    assert all(line.endswith(" left") for line in lines)


def test_two_bars_and_a_note_in_a_file_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with progress_bar(title="outer", unit="edit", total=2) as outer:
        with progress_bar(title="inner", unit="edit", total=2) as inner:
            inner.update(2)
        note("as it was asked for")
        outer.update(2)
    assert "\r" not in file.getvalue()
    assert "\x1b" not in file.getvalue()
    lines = file.getvalue().split("\n")
    assert "as it was asked for" in lines
    assert all(": " in line for line in lines if line and line != "as it was asked for")


def test_a_terminal_gets_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress_bar(title="edits", unit="edit", total=2)
    bar.update(2)
    bar.close()
    assert "\r" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
