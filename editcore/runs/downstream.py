"""Tasks on edited models: one job per model, which loads it and the tasks once."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from editcore.datasets.readers import read_texts
from editcore.errors import DataError
from editcore.evaluation import perplexity
from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.models.loading import LoadedModel, load_spec
from editcore.planning.jobs import DownstreamJob
from editcore.progress import progress_bar
from editcore.records.provenance import of_job
from editcore.records.tables import CASE_KEYS, Row, read_edits, write_table
from editcore.runs.pooling import pooled
from editcore.runs.selection import selected
from editcore.summary.correlation import DOWNSTREAM
from editcore.summary.weight_change import WEIGHTS, contrasted
from editcore.updates.delta import Delta, load_deltas

Chosen = dict[str, Any]


def run(job: DownstreamJob, out: Path, weights_out: Path) -> None:
    """Score the unedited model and the chosen edited ones in every task; rows to `out`.

    `weights_out` gets the changed matrix of a collapsed edit and of a stable one, for a picture.
    """
    edits = _edits(job)
    chosen = selected(edits, job.count, job.top)
    model = load_spec(job.model)
    lm, suite = EditedLM(model), Suite.load(job.tasks, job.limit, job.seed)
    rows = _rows(job, suite, lm, {"perplexity": _unedited(model, job)})
    with progress_bar(total=len(chosen), title=f"{job.model.name} downstream", unit="model") as bar:
        for edit, delta in _with_deltas(chosen):
            with lm.edited(delta):
                rows += _rows(job, suite, lm, edit)
            bar.update()
    made = of_job(job, tasks=suite.versions)
    write_table(weights_out, _pictures(contrasted(edits)), WEIGHTS, made)
    write_table(out, rows, DOWNSTREAM, made)


def _edits(job: DownstreamJob) -> pl.DataFrame:
    """The edits of all shards, each with the file that holds its weight change."""
    tables = [
        read_edits([Path(shard.rows)]).with_columns(deltas=pl.lit(shard.deltas))
        for shard in job.edits
    ]
    return pl.concat(tables, how="diagonal")


def _unedited(model: LoadedModel, job: DownstreamJob) -> float:
    texts = read_texts(job.perplexity.path, job.perplexity.texts)
    return perplexity.measure(model, perplexity.tokenize(model, texts)).mean


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
    """A row per task for the model as it is; one without a case is the unedited."""
    about = {name: edit.get(name) for name in ("editor", "dataset", "case_id", "perplexity")}
    chosen_for = {name: edit.get(name, False) for name in ("spread", "top")}
    return [
        {"model": job.model.name, **about, **chosen_for, **vars(score)}
        for score in suite.scores(lm)
    ]


def _pictures(edits: pl.DataFrame) -> Iterator[Row]:
    """The blocks of the first matrix that each of the edits changes."""
    for edit, delta in _with_deltas(edits):
        matrices = ((n, u) for n, u in delta.updates.items() if len(u.shape) == 2)
        if (found := next(matrices, None)) is None:
            continue
        parameter, update = found
        about = {name: edit[name] for name in (*CASE_KEYS, "collapsed", "perplexity")}
        about |= {"parameter": parameter, "d_out": update.shape[0], "d_in": update.shape[1]}
        for row, values in enumerate(pooled(update.dense()).tolist()):
            for column, value in enumerate(values):
                yield about | {"row": row, "column": column, "change": value}
