"""The table of sequential edits: one row per step, with verdicts; imports no torch."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from editcore.collapse.verdict import judged
from editcore.config.collapse import CollapseSection
from editcore.errors import DataError
from editcore.records.provenance import made_by, origins
from editcore.records.schemas import SCORE, SEQUENCES, SEQUENCES_JUDGED
from editcore.records.tables import read_provenance, read_table, write_table


def tasks(rows: pl.DataFrame) -> list[str]:
    """The tasks that some sequence was scored on.

    >>> tasks(pl.DataFrame({"step": [0], "score_piqa": [0.7], "random_piqa": [0.5]}))
    ['piqa']
    """
    names = [name for name in rows.columns if name not in SEQUENCES_JUDGED.names]
    return [name.removeprefix(SCORE) for name in names if name.startswith(SCORE)]


def write_sequences(files: Sequence[Path], out_dir: Path, rule: CollapseSection) -> None:
    """Write the rows of all sequences, with verdicts, to `sequences.parquet`.

    Raises `DataError` for a file of another kind.
    """
    if not files:
        raise DataError("no tables of sequences were given; run `editcore sequence` first")
    table = pl.concat([read_table(path, SEQUENCES) for path in files], how="diagonal")
    provenance = {
        "made_by": made_by(),
        "files": len(files),
        "collapse": rule.model_dump(),
        **origins([read_provenance(path) for path in files]),
    }
    write_table(out_dir / "sequences.parquet", judged(table, rule), SEQUENCES_JUDGED, provenance)
