"""A study's jobs are forked from one process, and their results are those of new processes."""

import json
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from editcore.records.tables import read_edits
from editcore_start import WARM
from tests.workflow.conftest import StudyFolder

MEASURED = ["seconds", "seconds_editing", "peak_memory"]
SHARD = "model=gpt2/editor=rome/dataset=facts/shard-000"


def rows(folder: StudyFolder) -> pl.DataFrame:
    file = folder.path / "results" / "edits" / f"{SHARD}.parquet"
    return read_edits([file]).drop(MEASURED)


def seconds(folder: StudyFolder) -> float:
    file = folder.path / "results" / "benchmarks" / "edits" / f"{SHARD}.json"
    return float(json.loads(file.read_text())["seconds"])


def test_forked_jobs_find_what_new_processes_find_and_start_sooner(
    study_folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"results/edits/{SHARD}.parquet"
    found, took = {}, {}
    for name, value in (("forked", None), ("new", "no")):
        folder = study_folder.copy(tmp_path / name)
        if value:
            monkeypatch.setenv(WARM, value)
        status, printed = folder.snakemake(target)
        assert status == 0, printed
        found[name], took[name] = rows(folder), seconds(folder)
    assert found["forked"].equals(found["new"])
    # Loading torch and transformers takes a process 3 to 5 seconds.
    assert took["forked"] < took["new"] - 1


def test_the_process_ends_with_its_study(study_folder: StudyFolder, tmp_path: Path) -> None:
    folder = study_folder.copy(tmp_path)
    status, printed = folder.snakemake("--until", "prefixes")
    assert status == 0, printed
    for _ in range(50):
        running = [
            process
            for process in psutil.process_iter(["cmdline", "cwd"])
            if "editcore_warm" in (process.info["cmdline"] or [])
            and process.info["cwd"] == str(tmp_path)
        ]
        if not running:
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {running}")
