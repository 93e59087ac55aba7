"""The table of keys at every layer, of all models; free of torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from editcore.errors import DataError
from editcore.planning.stages.jobs import LayersJob
from editcore.records import planned
from editcore.records.model_schemas import LAYERS
from editcore.records.provenance import merged
from editcore.records.tables import NO_JOBS, read_provenance, read_table, write_table


def write_layers(
    files: Sequence[Path], out_dir: Path, jobs: Mapping[Path, LayersJob] = NO_JOBS
) -> None:
    """Write the rows of all models to `layers.parquet`.

    Raises `DataError` for a file of another kind, or without a case of its job in `jobs`; if it has
    none there, of the job in its own provenance.
    """
    if not files:
        raise DataError("no tables of keys by layer were given; run `editcore layers` first")
    tables = {path: read_table(path, LAYERS) for path in files}
    made = {path: read_provenance(path) for path in files}
    for path, rows in tables.items():
        _require_planned(path, rows, planned.job_of(path, jobs, made[path]))
    table = pl.concat(tables.values())
    write_table(out_dir / "layers.parquet", table, LAYERS, merged(made.values()))


def _require_planned(path: Path, rows: pl.DataFrame, job: Mapping[str, Any]) -> None:
    """Raise `DataError` unless every planned case has all layers, up to the last in the table."""
    last = max(rows["layer"], default=0)
    wanted = [
        _named((each["dataset"]["name"], case, layer))
        for each in job.get("sets", ())
        for case in each["case_ids"]
        for layer in range(last + 1)
    ]
    if wanted:
        found = rows.select("dataset", "case_id", "layer").rows()
        planned.require(path, wanted, map(_named, found))


def _named(row: tuple[Any, ...]) -> str:
    dataset, case, layer = row
    return f"case {case} of {dataset}, layer {layer}"
