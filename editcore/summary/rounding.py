"""The table of what rounding does to all models; free of torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from editcore.errors import DataError
from editcore.planning.jobs import RoundingJob
from editcore.records import planned
from editcore.records.model_schemas import ROUNDING
from editcore.records.provenance import merged
from editcore.records.tables import NO_JOBS, read_provenance, read_table, write_table


def write_rounding(
    files: Sequence[Path], out_dir: Path, jobs: Mapping[Path, RoundingJob] = NO_JOBS
) -> None:
    """Write the rows of all models to `rounding.parquet`.

    Raises `DataError` for a file of another kind, or without the model of its job in `jobs`.
    """
    if not files:
        raise DataError("no tables of rounded models were given; run `editcore rounding` first")
    tables = {path: read_table(path, ROUNDING) for path in files}
    for path, job in jobs.items():
        found = tables[path]["model"].unique()
        planned.require(path, [f"model {job.model.name}"], (f"model {name}" for name in found))
    provenance = merged([read_provenance(path) for path in files])
    write_table(out_dir / "rounding.parquet", pl.concat(tables.values()), ROUNDING, provenance)
