"""Broken shards, killed workers, a killed Snakemake: a plain error, then the same tables."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.rows import CLOCKS
from tests.workflow.conftest import StudyFolder

DEADLINE_SECONDS = 300
SHARD = "model=gpt2/editor=rome/dataset=facts/shard-000.parquet"


def cases(folder: StudyFolder) -> pl.DataFrame:
    """The table of all edits, without measured times."""
    table = folder.path / "results" / "summary" / "cases.parquet"
    return pl.read_parquet(table).drop(*CLOCKS)


def start(folder: StudyFolder) -> "subprocess.Popen[bytes]":
    """Start the study, one job at a time, in a session of its own."""
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        folder.command("--cores", "1"), cwd=folder.path, env=folder.environment, stdout=nothing,
        stderr=nothing, start_new_session=True,
    )  # fmt: skip


def workers(session: int) -> Iterator[int]:
    """The processes of a session that are editing a shard."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.with_name("cmdline").read_bytes().split(b"\0")
            of = int(status.read_text(encoding="utf-8").rpartition(")")[2].split()[3])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if of == session and b"edit" in words and any(w.endswith(b"editcore") for w in words):
            yield int(status.parent.name)


def worker(run: "subprocess.Popen[bytes]") -> int:
    """Wait until the run edits a shard, and return the process that does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and run.poll() is None:
        if (found := next(workers(run.pid), None)) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("no shard was edited")


def test_broken_shards_and_killed_processes_change_no_table(
    finished: StudyFolder, tmp_path: Path
) -> None:
    folder = finished.copy(tmp_path)
    whole = folder.files("edits")
    broken = folder.path / "results" / "edits" / SHARD
    broken.write_bytes(broken.read_bytes()[:-100])
    stray = broken.with_name("shard-copy.parquet")
    stray.write_bytes(b"somebody's notes")

    status, output = folder.snakemake()
    assert status != 0
    assert f"{broken.relative_to(folder.path)}: not a whole Parquet file" in output
    assert "delete it and run again" in output
    assert "Traceback" not in output

    broken.unlink()
    run = start(folder)
    os.kill(worker(run), signal.SIGKILL)
    assert run.wait(DEADLINE_SECONDS) != 0
    assert not broken.exists()

    run = start(folder)
    orphan = worker(run)
    run.kill()
    run.wait()
    assert Path(f"/proc/{orphan}").exists(), "Snakemake is gone, and its job is not"
    status, output = folder.snakemake("--unlock")
    assert status == 0, output
    status, output = folder.snakemake()
    assert status == 0, output
    assert_frame_equal(cases(folder), cases(finished), check_exact=True)
    # Nothing was computed twice, and no other file was changed.
    changed = {
        file for file, written in folder.files("edits").items() if whole.get(file) != written
    }
    assert changed == {str(broken), str(stray)}
    assert stray.read_bytes() == b"somebody's notes"


@pytest.fixture
def sealed(finished: StudyFolder, tmp_path: Path) -> Iterator[StudyFolder]:
    """A study whose results cannot be written, even by a user who may write anywhere."""
    folder = finished.copy(tmp_path)
    results = folder.path / "results"
    bind = ["mount", "--bind", str(results), str(results)]
    if os.geteuid() != 0 or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("mounting a folder read-only needs root")
    seal = ["mount", "-o", "remount,bind,ro", str(results)]
    try:
        subprocess.run(seal, check=True)
        yield folder
    finally:
        subprocess.run(["umount", str(results)], check=True)


def test_results_that_may_not_be_written_are_one_plain_message(sealed: StudyFolder) -> None:
    status, output = sealed.snakemake()
    assert status == 0, f"nothing has to be written, so there is no error: {output}"
    sealed.configure(seed=1)
    status, output = sealed.snakemake()
    assert status != 0
    assert "results/jobs" in output and "cannot be written" in output
    assert "Traceback" not in output
