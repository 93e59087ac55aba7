"""The table of sequential edits: one row per step of a sequence; free of torch."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from editcore.errors import DataError
from editcore.records.provenance import origins
from editcore.records.tables import read_provenance, read_table, schema, write_table

# A sequence that ended at this step because the model had collapsed.
STOPPED = "stopped"

# Columns after the schema's, for each task that sequences are scored on: the model's score, and
# what guessing gives.
SCORE, GUESSED = "score_", "random_"

KEYS = ("model", "editor", "dataset", "seed", "step")

SEQUENCES = schema(
    "sequences/1",
    KEYS,
    {
        "model": pa.string(),
        "editor": pa.string(),
        "dataset": pa.string(),
        "seed": pa.int64(),
        "step": pa.int64(),
        "edits": pa.int64(),
        "case_id": pa.int64(),
        "status": pa.string(),
        "made": pa.bool_(),
        "perplexity": pa.float64(),
        "perplexity_base": pa.float64(),
        "perplexity_ratio": pa.float64(),
        "nonfinite_tokens": pa.int64(),
        "collapsed": pa.bool_(),
        "denominator": pa.float64(),
        "delta_norm": pa.float64(),
        "accumulated_norm": pa.float64(),
        "efficacy_so_far": pa.float64(),
        "efficacy_so_far_prefixed": pa.float64(),
        "generalization_so_far": pa.float64(),
        "locality": pa.float64(),
        "seconds_editing": pa.float64(),
        "seconds": pa.float64(),
    },
)


def tasks(rows: pl.DataFrame) -> list[str]:
    """The tasks that some sequence was asked to do.

    >>> tasks(pl.DataFrame({"step": [0], "score_piqa": [0.7], "random_piqa": [0.5]}))
    ['piqa']
    """
    names = [name for name in rows.columns if name not in SEQUENCES.names]
    return [name.removeprefix(SCORE) for name in names if name.startswith(SCORE)]


def write_sequences(files: Sequence[Path], out_dir: Path) -> None:
    """Write the rows of all sequences to `sequences.parquet`; `DataError` for a file of others."""
    if not files:
        raise DataError("no tables of sequences were given; run `editcore trace` first")
    table = pl.concat([read_table(path, SEQUENCES) for path in files], how="diagonal")
    made = {"editcore": importlib.metadata.version("editcore"), "polars": pl.__version__}
    sources = origins([read_provenance(path) for path in files])
    provenance = {"made_by": made, "files": len(files), **sources}
    write_table(out_dir / "sequences.parquet", table, SEQUENCES, provenance)
