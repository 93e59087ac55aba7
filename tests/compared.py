"""Synthetic finished studies for the tests of comparisons."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editcore.config.collapse import CollapseSection
from editcore.records.schemas import CASES, EDITS
from editcore.records.tables import write_table
from tests.rows import edit_row, failed_row, judged_rows
from tests.studies import write_json

Rows = list[dict[str, Any]]
CONFIG: Mapping[str, Any] = {
    "seed": 0,
    "models": {"small": {}},
    "perplexity": {"path": "texts.json", "texts": 30},
    "sequences": None,
}
HARMED = 400.0


def rows(count: int = 12) -> Rows:
    """Two editors on hard and normal cases, all sound; one edit of `alpha` fails."""
    found = [
        edit_row(
            case, 4.1 + 0.01 * case, 2.0, editor=editor, dataset=dataset, subject=f"Word{case}"
        )
        for editor in ("alpha", "beta")
        for dataset in ("hard", "normal")
        for case in range(count)
    ]
    return [*found, failed_row(count, editor="alpha", dataset="hard")]


def changed(rows: Sequence[Mapping[str, Any]], cases: Sequence[int], **values: Any) -> Rows:
    """The rows, with other values in these cases of `beta` on hard facts."""
    where = {"editor": "beta", "dataset": "hard"}
    return [
        {**row, **values}
        if row["case_id"] in cases and all(row[key] == label for key, label in where.items())
        else dict(row)
        for row in rows
    ]


def collapsed(rows: Sequence[Mapping[str, Any]], cases: Sequence[int]) -> Rows:
    """The rows, with these cases of `beta` on hard facts collapsed."""
    return changed(rows, cases, perplexity=HARMED, perplexity_ratio=HARMED / 4)


def about(**changes: Any) -> dict[str, Any]:
    """What the provenance of a summary contains."""
    return {
        "collapse": CollapseSection().model_dump(),
        "edits": {"versions": {"editcore": "1.0", "torch": "2.13"}, "code": "c0de"},
        "models": {"small": {"name": "small", "source": "small", "dtype": "float32"}},
        "editors": {
            "alpha": {"label": "alpha", "options": {"steps": 20}, "version": "0.1"},
            "beta": {"label": "beta", "options": {"layer": 2}, "version": "0.1"},
        },
        "datasets": {name: {"name": name, "path": f"{name}.json"} for name in ("hard", "normal")},
    } | changes


def finished(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    made: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] = CONFIG,
    revision: str = "weights",
) -> Path:
    """The results folder of a finished study with these rows."""
    table = judged_rows(rows)
    write_table(folder / "summary" / "cases.parquet", table, CASES, made or about())
    write_json(folder / "jobs" / "study.json", {"config": config})
    shard = folder / "edits" / f"model={rows[0]['model']}" / "shard-000.parquet"
    write_table(shard, table.head(1).select(EDITS.names), EDITS, {"revision": revision})
    return folder


def benchmark(folder: Path, stage: str, seconds: float, memory: float) -> None:
    """A record of what a job of a stage used."""
    used = {"seconds": seconds, "cpu_seconds": seconds, "peak_memory_mb": memory}
    path = folder / "benchmarks" / stage / "model=small.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(used), encoding="utf-8")
