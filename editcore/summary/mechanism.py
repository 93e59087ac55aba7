"""Combines the models' tables of the mechanism, and derives others from them and the edit rows."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from editcore.collapse.verdict import VERDICT_COLUMNS, judged
from editcore.config.collapse import CollapseSection
from editcore.planning import paths
from editcore.records.mechanism_schemas import DERIVED, GATHERED, TABLES
from editcore.records.provenance import merged
from editcore.records.schemas import CASES
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.summary import mechanism_prompting, mechanism_shared


def write_mechanism(folders: Sequence[Path], cases: Path, out_dir: Path) -> None:
    """Write `mechanism-*.parquet` to `out_dir` from the models' folders of tables.

    `cases` is the table of all edit rows; the rule that judged them is used here too. Raises
    `DataError` naming the file that is missing.
    """
    rule = CollapseSection(**read_provenance(cases)["collapse"])
    files = {name: [folder / f"{name}.parquet" for folder in folders] for name in TABLES}
    provenance = merged([read_provenance(file) for file in files["updates"]])
    provenance["collapse"] = rule.model_dump()
    found = {name: _gathered(files[name], name, rule) for name in TABLES}
    for name, table in found.items():
        write_table(out_dir / paths.mechanism_file(name), table, GATHERED[name], provenance)
    derived = {
        "shared": mechanism_shared.rows(found["updates"]),
        "prompting": mechanism_prompting.rows(read_table(cases, CASES)),
    }
    for name, rows in derived.items():
        write_table(out_dir / paths.mechanism_file(name), rows, DERIVED[name], provenance)


def _gathered(files: Sequence[Path], name: str, rule: CollapseSection) -> pl.DataFrame:
    """One experiment's tables of all models as one, with verdicts on edited models."""
    table = pl.concat([read_table(file, TABLES[name]) for file in files])
    return judged(table, rule) if {*VERDICT_COLUMNS} <= {*GATHERED[name].names} else table
