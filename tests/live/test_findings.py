"""Collapses are counted in the tables of finished jobs, by the study's own rule."""

import math
from pathlib import Path

import pytest

from editcore.config.collapse import CollapseSection
from editcore.live import findings
from editcore.live.findings import Finding
from tests.live.runs import table


def test_edits_are_judged_and_failures_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path, "edits", "rome", [11.0, 101.0, math.inf, None])
    found = findings.read(path, CollapseSection())
    assert found == Finding("edits", "tiny", "rome", collapsed=2, total=4, failed=1)
    strict = findings.read(path, CollapseSection(ratio=1.05))
    assert strict is not None and strict.collapsed == 3


def test_a_sequence_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path, "sequences", "rome", [10.0, None, 200.0, 300.0])
    found = findings.read(path, CollapseSection())
    assert found == Finding("sequences", "tiny", "rome", collapsed=1, total=1, failed=0)


def test_other_files_and_broken_tables_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path, "edits", "rome", [11.0])
    path.write_bytes(path.read_bytes()[:50])
    assert findings.read(path, CollapseSection()) is None
    assert findings.read(Path("results/report.html"), CollapseSection()) is None
    assert findings.by_table([path, Path("results/edits/absent.parquet")], CollapseSection()) == {}


def test_shards_are_summed_and_most_collapses_come_first() -> None:
    parts = [
        Finding("edits", "tiny", "c-rome", 0, 5, 0),
        Finding("edits", "tiny", "rome", 1, 5, 0),
        Finding("edits", "tiny", "rome", 2, 5, 1),
    ]
    assert findings.summed(parts) == [Finding("edits", "tiny", "rome", 3, 10, 1), parts[0]]
