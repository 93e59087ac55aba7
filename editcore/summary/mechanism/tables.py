"""Combines the models' tables of the mechanism, and derives others from them and the edit rows."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from editcore.collapse.verdict import VERDICT_COLUMNS, judged
from editcore.config.collapse import CollapseSection
from editcore.planning import paths
from editcore.records import planned
from editcore.records.mechanism_schemas import (
    COLLAPSE,
    DERIVED,
    GATHERED,
    NORMAL,
    STRATEGIES,
    TABLES,
    UPDATES,
)
from editcore.records.provenance import merged
from editcore.records.schemas import CASES
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.summary.mechanism import prompting, shared


def write_mechanism(folders: Sequence[Path], cases: Path, out_dir: Path) -> None:
    """Write `mechanism-*.parquet` to `out_dir` from the models' folders of tables.

    `cases` is the table of all edit rows; the rule that judged them is used here too. Raises
    `DataError` naming the file that is missing, or updates that are: of cases that the job in the
    provenance planned, without those left out there.
    """
    rule = CollapseSection(**read_provenance(cases)["collapse"])
    files = {name: [folder / f"{name}.parquet" for folder in folders] for name in TABLES}
    for file in files["updates"]:
        _require_planned(file, read_provenance(file))
    provenance = merged([read_provenance(file) for file in files["updates"]])
    provenance["collapse"] = rule.model_dump()
    found = {name: _gathered(files[name], name, rule) for name in TABLES}
    for name, table in found.items():
        write_table(out_dir / paths.mechanism_file(name), table, GATHERED[name], provenance)
    derived = {
        "shared": shared.rows(found["updates"]),
        "prompting": prompting.rows(read_table(cases, CASES)),
    }
    for name, rows in derived.items():
        write_table(out_dir / paths.mechanism_file(name), rows, DERIVED[name], provenance)


def _gathered(files: Sequence[Path], name: str, rule: CollapseSection) -> pl.DataFrame:
    """One experiment's tables of all models as one, with verdicts on edited models."""
    table = pl.concat([read_table(file, TABLES[name]) for file in files])
    return judged(table, rule) if {*VERDICT_COLUMNS} <= {*GATHERED[name].names} else table


def _require_planned(file: Path, made: Mapping[str, Any]) -> None:
    """Raise `DataError` unless the updates are those of all planned cases not left out."""
    wanted = [
        _named(cases, case, strategy, with_moment)
        for cases, case in _cases(planned.job_of(file, {}, made), made.get("left_out", {}))
        for strategy in STRATEGIES
        for with_moment in (True, False)
    ]
    rows = read_table(file, UPDATES).select("cases", "case_id", "strategy", "second_moment").rows()
    if wanted:
        planned.require(file, wanted, (_named(*row) for row in rows))


def _cases(
    job: Mapping[str, Any], left_out: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, int]]:
    for cases, part in ((COLLAPSE, "hard_cases"), (NORMAL, "normal_cases")):
        for case in planned.case_ids(job.get(part, {})):
            if str(case) not in left_out.get(cases, {}):
                yield cases, case


def _named(cases: str, case: int, strategy: str, with_moment: bool) -> str:
    return f"{cases} case {case} ({strategy}, {'with' if with_moment else 'without'} C)"
