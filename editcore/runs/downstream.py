"""Tasks on edited models: one job per model, which loads it and the tasks once."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from editcore.errors import DataError
from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.evaluation.perplexity import measure_unedited
from editcore.models.loading import load_spec
from editcore.planning.stages.jobs import DownstreamJob
from editcore.progress import progress_bar
from editcore.records.provenance import of_job
from editcore.records.schemas import CASE_KEYS, DOWNSTREAM
from editcore.records.stored_precision import stored_precision
from editcore.records.tables import Row, read_edits, write_table
from editcore.registry.registry import load_registry
from editcore.summary.task_choice import selected
from editcore.updates.delta import Delta, load_deltas

Chosen = dict[str, Any]


def run(job: DownstreamJob, out: Path) -> None:
    """Score the unedited model and the chosen edited ones in every task; rows to `out`."""
    edits = _edits(job)
    chosen = selected(edits, job)
    model = load_spec(job.model, load_registry())
    _, unedited = measure_unedited(model, job.perplexity)
    lm, suite = EditedLM(model), Suite.load(job.tasks, job.limit, job.seed)
    stored = stored_precision(job.model.source, job.model.revision)
    rows = _rows(job, suite, lm, {"perplexity": unedited.perplexity.mean})
    with progress_bar(total=len(chosen), title=f"{job.model.name} downstream", unit="model") as bar:
        for edit, delta in _with_deltas(chosen):
            with lm.edited(delta):
                rows += _rows(job, suite, lm, edit)
            bar.update()
    rows = [{**row, "stored_as": stored} for row in rows]
    write_table(out, rows, DOWNSTREAM, of_job(job, tasks=suite.versions))


def _edits(job: DownstreamJob) -> pl.DataFrame:
    """The edits of all shards, each with the file that holds its weight change."""
    tables = [
        read_edits([Path(shard.rows)]).with_columns(deltas=pl.lit(shard.deltas))
        for shard in job.edits
    ]
    return pl.concat(tables, how="diagonal")


def _with_deltas(chosen: pl.DataFrame) -> Iterator[tuple[Chosen, Delta]]:
    """Each chosen edit with its weight change, one file at a time."""
    rows = chosen.sort("deltas", *CASE_KEYS).iter_rows(named=True)
    for file, edits in groupby(rows, key=lambda row: str(row["deltas"])):
        listed = list(edits)
        changes = load_deltas(Path(file), {row["case_id"] for row in listed})
        for row in listed:
            if row["case_id"] not in changes:
                raise DataError(
                    f"{file} lacks the weight change of case {row['case_id']}; delete it and run "
                    "the edits of this shard again"
                )
            yield row, changes.pop(row["case_id"])


def _rows(job: DownstreamJob, suite: Suite, lm: EditedLM, edit: Chosen) -> list[Row]:
    """A row per task for the model, edited or not; without a case, it is the unedited one."""
    about = {name: edit.get(name) for name in ("editor", "dataset", "case_id", "perplexity")}
    chosen_for = {name: edit.get(name, False) for name in ("spread", "top")}
    return [
        {"model": job.model.name, **about, **chosen_for, **vars(score)}
        for score in suite.scores(lm)
    ]
