"""Long work reports its progress and the remaining time, also in a file."""

import io
import sys

import pytest

from editcore import progress as module
from editcore.progress import progress_bar


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


def test_a_terminal_gets_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress_bar(title="edits", unit="edit", total=2)
    bar.update(2)
    bar.close()
    assert "\r" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
