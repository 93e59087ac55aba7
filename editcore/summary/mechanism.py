"""The models' tables as one of each kind, and what is made of them and of the edit rows."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from editcore.planning import paths
from editcore.records.mechanism_schemas import DERIVED, TABLES
from editcore.records.provenance import merged
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.summary import mechanism_prompting, mechanism_shared
from editcore.summary.edits import CASES


def write_mechanism(folders: Sequence[Path], cases: Path, out_dir: Path) -> None:
    """Write `mechanism-*.parquet` to `out_dir` from the folders that `run` filled.

    `cases` is the table of all edit rows. Raises `DataError` naming the file that is missing.
    """
    files = {name: [folder / f"{name}.parquet" for folder in folders] for name in TABLES}
    provenance = merged([read_provenance(file) for file in files["updates"]])
    found = {
        name: pl.concat([read_table(file, schema) for file in files[name]])
        for name, schema in TABLES.items()
    }
    for name, table in found.items():
        write_table(out_dir / paths.mechanism_file(name), table, TABLES[name], provenance)
    derived = {
        "shared": mechanism_shared.rows(found["updates"]),
        "prompting": mechanism_prompting.rows(read_table(cases, CASES)),
    }
    for name, rows in derived.items():
        write_table(out_dir / paths.mechanism_file(name), rows, DERIVED[name], provenance)
