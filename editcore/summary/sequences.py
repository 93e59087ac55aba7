"""The table of sequential edits: one row per step, with verdicts; imports no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from editcore.collapse.verdict import judged
from editcore.config.collapse import CollapseSection
from editcore.errors import DataError
from editcore.planning.jobs import SequenceJob
from editcore.records import planned
from editcore.records.provenance import made_by, origins
from editcore.records.schemas import SCORE, SEQUENCES, SEQUENCES_JUDGED, STOPPED, WARNED
from editcore.records.tables import NO_JOBS, read_provenance, read_table, write_table


def tasks(rows: pl.DataFrame) -> list[str]:
    """The tasks that some sequence was scored on.

    >>> tasks(pl.DataFrame({"step": [0], "score_piqa": [0.7], "random_piqa": [0.5]}))
    ['piqa']
    """
    names = [name for name in rows.columns if name not in SEQUENCES_JUDGED.names]
    return [name.removeprefix(SCORE) for name in names if name.startswith(SCORE)]


def write_sequences(
    files: Sequence[Path],
    out_dir: Path,
    rule: CollapseSection,
    jobs: Mapping[Path, SequenceJob] = NO_JOBS,
) -> None:
    """Write the rows of all sequences, with verdicts, to `sequences.parquet`.

    Raises `DataError` for a file of another kind, or without a step of its job in `jobs`; if it has
    none there, of the job in its own provenance.
    """
    if not files:
        raise DataError("no tables of sequences were given; run `editcore sequence` first")
    tables = {path: read_table(path, SEQUENCES) for path in files}
    made = {path: read_provenance(path) for path in files}
    for path, rows in tables.items():
        _require_planned(path, rows, planned.job_of(path, jobs, made[path]))
    table = pl.concat(tables.values(), how="diagonal")
    provenance = {
        "made_by": made_by(),
        "files": len(files),
        "collapse": rule.model_dump(),
        **origins(list(made.values())),
    }
    write_table(out_dir / "sequences.parquet", judged(table, rule), SEQUENCES_JUDGED, provenance)


def _require_planned(path: Path, rows: pl.DataFrame, job: Mapping[str, Any]) -> None:
    """Raise `DataError` unless all steps are there, up to one where the job's rule ended it."""
    if not (cases := planned.case_ids(job)):
        return
    steps: list[int | None] = [None, *cases[:: job["batch"]]]
    last = rows.sort("step").tail(1)
    ended = last["status"].str.starts_with(WARNED).any() or last["status"].to_list() == [STOPPED]
    if (job["stop_rule"] or job.get("alarm")) and ended:
        steps = steps[: last["step"][0] + 1]
    found = rows.select("step", "case_id").rows()
    if job.get("arrangement", "drawn") != "drawn":  # by the facts' keys, which planning cannot know
        steps, found = [None] * len(steps), [(step, None) for step, _ in found]
    planned.require(path, [_named(*each) for each in enumerate(steps)], (_named(*f) for f in found))


def _named(step: int, case: int | None) -> str:
    return f"step {step}" if case is None else f"step {step} with case {case}"
