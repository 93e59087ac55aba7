"""The edits that shards left: their rows, and their weight changes."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from editcore.errors import DataError
from editcore.planning.stages.jobs import EditFiles
from editcore.records.schemas import CASE_KEYS
from editcore.records.tables import read_edits
from editcore.updates.delta import Delta, load_deltas

Edit = dict[str, Any]


def rows(shards: Sequence[EditFiles]) -> pl.DataFrame:
    """The edits of all shards, each with the file that holds its weight change (`deltas`)."""
    tables = [
        read_edits([Path(shard.rows)]).with_columns(deltas=pl.lit(shard.deltas)) for shard in shards
    ]
    return pl.concat(tables, how="diagonal")


def with_deltas(chosen: pl.DataFrame) -> Iterator[tuple[Edit, Delta]]:
    """Each chosen edit with its weight change, one file at a time.

    Raises `DataError` for a file without the weight change of a chosen case.
    """
    ordered = chosen.sort("deltas", *CASE_KEYS).iter_rows(named=True)
    for file, edits in groupby(ordered, key=lambda row: str(row["deltas"])):
        listed = list(edits)
        changes = load_deltas(Path(file), {row["case_id"] for row in listed})
        for row in listed:
            if row["case_id"] not in changes:
                raise DataError(
                    f"{file} lacks the weight change of case {row['case_id']}; delete it and run "
                    "the edits of this shard again"
                )
            yield row, changes.pop(row["case_id"])
