"""How far a job is, read from what its own progress bar writes."""

import io
import sys
from pathlib import Path

import pytest

from editcore import progress
from editcore.live import job_progress
from editcore.live.job_progress import JobProgress


def test_the_lines_that_progress_bars_write_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr(progress, "FILE_SECONDS", 0.0)
    log = tmp_path / "edit.log"
    for _ in progress.progress_bar(range(4), title="rome: edits", unit="edit", total=4):
        log.write_text(file.getvalue() + "a warning\n")
        found = job_progress.read([str(log)])
        assert found is not None
    assert found == JobProgress(0.75, "3 of 4 edits")


def test_a_log_without_progress_has_none(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert job_progress.read([str(log)]) is None
    log.write_bytes(b"\xff\xfe: 3 of many\n")
    assert job_progress.read([str(log)]) is None
    assert job_progress.read([]) is None


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {n}\n" for n in range(10_000)))
    lines = job_progress.tail(str(log), size=100)
    assert lines[-1] == "line 9999"
    assert all(line.startswith("line 99") for line in lines), "the first line is whole"
    assert job_progress.tail(str(log), size=10**6)[0] == "line 0"
