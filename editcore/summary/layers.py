"""The table of keys at every layer, of all models; free of torch."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from editcore.errors import DataError
from editcore.records.provenance import merged
from editcore.records.schemas import LAYERS
from editcore.records.tables import read_provenance, read_table, write_table


def write_layers(files: Sequence[Path], out_dir: Path) -> None:
    """Write the rows of all models to `layers.parquet`; `DataError` for a file of others."""
    if not files:
        raise DataError("no tables of keys by layer were given; run `editcore layers` first")
    table = pl.concat([read_table(path, LAYERS) for path in files])
    provenance = merged([read_provenance(path) for path in files])
    write_table(out_dir / "layers.parquet", table, LAYERS, provenance)
