"""Rank correlation of perplexity and task scores over edited models.

Combines the tables of scores, and computes Spearman's ρ per model and task ("The Butterfly Effect
of Model Editing", Figure 2).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from editcore.datasets.task_files import label
from editcore.errors import DataError
from editcore.planning.stages.jobs import DownstreamJob
from editcore.records import planned
from editcore.records.provenance import made_by, merged
from editcore.records.schemas import CASE_KEYS, CORRELATION, DOWNSTREAM
from editcore.records.tables import (
    NO_JOBS,
    Row,
    read_edits,
    read_provenance,
    read_table,
    write_table,
)
from editcore.requests import OK
from editcore.summary.task_choice import selected

CONFIDENCE = 0.95
EDITED = CASE_KEYS[1:]


@dataclass(frozen=True)
class Spearman:
    """Spearman's ρ, its two-sided p-value and a bootstrap interval; None if ranks do not vary."""

    rho: float | None
    p_value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


def spearman(x: Sequence[float], y: Sequence[float], resamples: int, seed: int) -> Spearman:
    """Spearman's ρ of pairs, ties averaged, with the percentile interval over `resamples` samples.

    Samples in which one side does not vary have no ρ and are left out.

    >>> spearman([1.0, 2.0, 3.0, 4.0], [8.0, 6.0, 5.0, 1.0], 100, 0).rho
    -1.0
    """
    left, right = np.asarray(x, float), np.asarray(y, float)
    n = len(left)
    if n < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return Spearman(None, None, None, None, n)
    found = stats.spearmanr(left, right)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (left, right), _rho, paired=True, n_resamples=resamples, method="percentile", rng=seed
        )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn.bootstrap_distribution, (tail, 1 - tail))
    return Spearman(float(found.statistic), float(found.pvalue), float(low), float(high), n)


def _rho(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Pearson's correlation of the ranks along an axis; NaN if one side does not vary there."""
    ranks = (stats.rankdata(side, axis=axis) for side in (x, y))
    a, b = (each - each.mean(axis, keepdims=True) for each in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: np.ndarray = (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))
    return rho


def correlated(scores: pl.DataFrame) -> pl.DataFrame:
    """The rows that ρ uses: edited models chosen by range, and the unedited one, with a score."""
    chosen = pl.col("spread") | pl.col("case_id").is_null()
    return scores.filter(chosen, pl.col("status") == OK, pl.col("perplexity").is_finite())


def correlation(scores: pl.DataFrame, resamples: int, seed: int) -> list[Row]:
    """A row per model and task with ρ of perplexity and score, ordered by their names."""
    rows: list[Row] = []
    groups = scores.sort("model", "task").group_by("model", "task", maintain_order=True)
    for (model, task), frame in groups:
        used = correlated(frame)
        found = spearman(used["perplexity"].to_list(), used["score"].to_list(), resamples, seed)
        rows.append({"model": model, "task": task, "metric": frame["metric"][0], **vars(found)})
    return rows


def write_correlation(
    score_files: Sequence[Path],
    out_dir: Path,
    resamples: int,
    seed: int,
    jobs: Mapping[Path, DownstreamJob] = NO_JOBS,
) -> None:
    """Write `downstream.parquet`, all scores, and `correlation.parquet`.

    Raises `DataError` if no file is given, or one is not a table of scores, or does not have every
    task with every planned model: those that its job in `jobs` chooses from the edits; if it has
    none there, those in the table.
    """
    if not score_files:
        raise DataError("no tables of scores were given; run `editcore downstream` first")
    tables = {path: read_table(path, DOWNSTREAM) for path in score_files}
    made = {path: read_provenance(path) for path in score_files}
    for path, rows in tables.items():
        models = _chosen(jobs[path]) if path in jobs else _models(rows)
        _require_planned(path, rows, models, planned.job_of(path, jobs, made[path]))
    scores = pl.concat(tables.values())
    provenance = {
        "made_by": made_by(),
        "scores": merged(made.values()),
        "resamples": resamples,
        "seed": seed,
    }
    write_table(out_dir / "downstream.parquet", scores, DOWNSTREAM, provenance)
    found = correlation(scores, resamples, seed)
    write_table(out_dir / "correlation.parquet", found, CORRELATION, provenance)


def _models(rows: pl.DataFrame) -> pl.DataFrame:
    """The edited models of a table."""
    return rows.filter(pl.col("case_id").is_not_null()).unique(EDITED, maintain_order=True)


def _chosen(job: DownstreamJob) -> pl.DataFrame:
    """The edited models that a job chooses from its edits."""
    return selected(read_edits([Path(shard.rows) for shard in job.edits]), job)


def _require_planned(
    path: Path, rows: pl.DataFrame, models: pl.DataFrame, job: Mapping[str, Any]
) -> None:
    """Raise `DataError` unless the unedited and all edited models have every task."""
    if not (tasks := job.get("tasks")):
        return
    edited = [(None, None, None), *models.select(EDITED).rows()]
    wanted = [_named((*model, label(task))) for model in edited for task in tasks]
    planned.require(path, wanted, map(_named, rows.select(*EDITED, "task").rows()))


def _named(row: tuple[Any, ...]) -> str:
    editor, dataset, case, task = row
    model = "the unedited model" if case is None else f"case {case} of {editor}, {dataset}"
    return f"{model} in {task}"
