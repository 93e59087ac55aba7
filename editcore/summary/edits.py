"""From edit rows to the small tables that figures, pages and other studies use."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from editcore.collapse import backtest
from editcore.collapse.verdict import DAMAGED, FLAGS, judged
from editcore.config.collapse import CollapseSection
from editcore.planning.jobs import EditJob
from editcore.records.metric_columns import MEAN_COLUMNS
from editcore.records.model_schemas import WARNING
from editcore.records.provenance import made_by, origins
from editcore.records.schemas import CASES, VERDICTS
from editcore.records.tables import (
    NO_JOBS,
    extra_columns,
    read_edits,
    read_provenance,
    write_table,
)
from editcore.requests import OK

log = logging.getLogger(__name__)

MIXED = (
    "the shards were made by different versions of editcore's code (%s), which alone can make "
    "their numbers differ; `snakemake --forcerun edit` makes all of them again"
)
MIXED_ARTEFACTS = (
    "the shards were made with different contents of %s, which alone can make their numbers "
    "differ; `snakemake --forcerun edit` makes all of them again"
)
GROUP = ("model", "editor", "dataset")


def write_edits(
    edit_files: Sequence[Path],
    out_dir: Path,
    rule: CollapseSection,
    jobs: Mapping[Path, EditJob] = NO_JOBS,
) -> None:
    """Judge all edits, and write three tables to `out_dir`: rows, groups and warnings.

    Raises `DataError` as `read_edits` does.
    """
    edits = judged(read_edits(edit_files, jobs), rule)
    provenance = {
        "made_by": made_by(),
        "files": len(edit_files),
        "collapse": rule.model_dump(),
        **origins([read_provenance(path) for path in edit_files]),
    }
    _warn_of_mixed(provenance)
    write_table(out_dir / "cases.parquet", edits, CASES, provenance)
    write_table(out_dir / "verdicts.parquet", verdicts(edits, rule), VERDICTS, provenance)
    warning = backtest.evaluate(edits, rule)
    write_table(out_dir / "warning.parquet", warning, WARNING, provenance)


def _warn_of_mixed(provenance: Mapping[str, Any]) -> None:
    """Log a warning if shards differ in what all of them should have been made with."""
    if isinstance(codes := provenance["edits"].get("code"), list):
        log.warning(MIXED, " and ".join(codes))
    files = [file for file, of in provenance["artefacts"].items() if isinstance(of, list)]
    if files:
        log.warning(MIXED_ARTEFACTS, " and ".join(files))


def verdicts(edits: pl.DataFrame, rule: CollapseSection) -> pl.DataFrame:
    """One row per model, editor and data set: counts, perplexity, denominators, metric means.

    `rule` is the one that `edits` were judged by; its thresholds are columns too.

    Failed edits are counted in `n` and, by reason, in `failures` (JSON; null if there are none);
    every other number is over successful edits. Perplexities may be infinite.
    """
    made = edits.filter(pl.col("status") == OK)
    counts = edits.group_by(GROUP).agg(pl.len().cast(pl.Int64).alias("n"))
    numbers = made.group_by(GROUP).agg(*_numbers(), *_metrics(edits))
    table = counts.join(numbers, on=GROUP, how="left").join(_failures(edits), on=GROUP, how="left")
    counted = [name for name in table.columns if name.startswith("n_") or name.endswith("_n")]
    counted.remove("n_damaged")
    judged_by = {f"collapse_{name}": pl.lit(value) for name, value in rule.model_dump().items()}
    table = table.with_columns(pl.col(counted).fill_null(0), **judged_by)
    none = pl.when(pl.col("n_ok") == 0).then(0).otherwise(pl.col("n_damaged"))
    return table.with_columns(n_damaged=none).sort(GROUP)


def _numbers() -> list[pl.Expr]:
    denominator = pl.col("denominator")
    return [
        pl.len().cast(pl.Int64).alias("n_ok"),
        *(_count(name).alias(f"n_{name}") for name in FLAGS),
        pl.when(pl.col("grade").is_not_null().all())
        .then((pl.col("grade") == DAMAGED).sum())
        .cast(pl.Int64)
        .alias("n_damaged"),
        (pl.col("nonfinite_tokens") > 0).sum().cast(pl.Int64).alias("n_nonfinite"),
        pl.col("perplexity_base").median(),
        pl.col("perplexity").median().alias("perplexity_median"),
        pl.col("perplexity").max().alias("perplexity_max"),
        pl.col("perplexity_ratio").median().alias("ratio_median"),
        pl.col("perplexity_ratio").max().alias("ratio_max"),
        denominator.count().cast(pl.Int64).alias("denominator_n"),
        denominator.median().alias("denominator_median"),
        denominator.mean().alias("denominator_mean"),
        denominator.min().alias("denominator_min"),
        denominator.max().alias("denominator_max"),
        pl.col("numerator_norm").mean().alias("numerator_norm_mean"),
        pl.col("seconds").sum(),
    ]


def _count(column: str) -> pl.Expr:
    return pl.col(column).sum().cast(pl.Int64)


def _metrics(edits: pl.DataFrame) -> list[pl.Expr]:
    """The mean of each metric, those of this study alone too, and the number of edits in it."""
    names = [*MEAN_COLUMNS, *extra_columns(edits)]
    means = [pl.col(name).mean().alias(f"{name}_mean") for name in names]
    return means + [pl.col(name).count().cast(pl.Float64).alias(f"{name}_n") for name in names]


def _failures(edits: pl.DataFrame) -> pl.DataFrame:
    failed = edits.filter(pl.col("status") != OK)
    rows = [
        {**dict(zip(GROUP, group, strict=True)), "failures": _tally(frame["status"])}
        for group, frame in failed.group_by(GROUP)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys([*GROUP, "failures"], pl.String))


def _tally(statuses: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status] = counts.get(status, 0) + 1
    return json.dumps(counts, sort_keys=True)
