"""From edit rows to the small tables that figures, pages and other studies read."""

import importlib.metadata
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from editcore.collapse import backtest
from editcore.collapse.backtest import WARNING
from editcore.records.provenance import origins
from editcore.records.tables import (
    EDITS,
    METRIC_COLUMNS,
    extra_columns,
    read_edits,
    read_provenance,
    schema,
    write_table,
)
from editcore.requests import OK

log = logging.getLogger(__name__)

MIXED = (
    "the shards were made by different states of editcore's own code (%s); numbers may differ for "
    "that reason alone. `snakemake --forcerun edits` makes them alike"
)
GROUP = ("model", "editor", "dataset")
COLLAPSES = ("collapsed", "collapsed_perplexity", "collapsed_ratio")

CASES = EDITS.with_metadata({**EDITS.metadata, b"editcore.schema": b"cases/1"})

VERDICTS = schema(
    "verdicts/1",
    GROUP,
    {
        "model": pa.string(),
        "editor": pa.string(),
        "dataset": pa.string(),
        "n": pa.int64(),
        "n_ok": pa.int64(),
        "failures": pa.string(),
        "n_collapsed": pa.int64(),
        "n_collapsed_perplexity": pa.int64(),
        "n_collapsed_ratio": pa.int64(),
        "n_nonfinite": pa.int64(),
        "perplexity_base": pa.float64(),
        "perplexity_median": pa.float64(),
        "perplexity_max": pa.float64(),
        "ratio_median": pa.float64(),
        "ratio_max": pa.float64(),
        "denominator_n": pa.int64(),
        "denominator_median": pa.float64(),
        "denominator_mean": pa.float64(),
        "denominator_min": pa.float64(),
        "denominator_max": pa.float64(),
        "numerator_norm_mean": pa.float64(),
        **{f"{metric}_mean": pa.float64() for metric in METRIC_COLUMNS},
        **{f"{metric}_n": pa.int64() for metric in METRIC_COLUMNS},
        "seconds": pa.float64(),
    },
)


def write_summary(edit_files: Sequence[Path], out_dir: Path) -> None:
    """Write three tables to `out_dir`: all edit rows, a row per group, and what warned of collapse.

    Raises `DataError` naming the file that is not a table of edits.
    """
    edits = read_edits(edit_files)
    provenance = {
        "made_by": {"editcore": importlib.metadata.version("editcore"), "polars": pl.__version__},
        "files": len(edit_files),
        **origins([read_provenance(path) for path in edit_files]),
    }
    if isinstance(codes := provenance["edits"].get("code"), list):
        log.warning(MIXED, " and ".join(codes))
    write_table(out_dir / "cases.parquet", edits, CASES, provenance)
    write_table(out_dir / "verdicts.parquet", verdicts(edits), VERDICTS, provenance)
    write_table(out_dir / "warning.parquet", backtest.evaluate(edits), WARNING, provenance)


def verdicts(edits: pl.DataFrame) -> pl.DataFrame:
    """One row per model, editor and data set: counts, perplexity, denominators, metric means.

    Failed edits are counted in `n` and, by reason, in `failures` (JSON; null where there are none);
    every other number is of the edits that were made. Perplexities may be infinite.
    """
    made = edits.filter(pl.col("status") == OK)
    counts = edits.group_by(GROUP).agg(pl.len().cast(pl.Int64).alias("n"))
    numbers = made.group_by(GROUP).agg(*_numbers(), *_metrics(edits))
    table = counts.join(numbers, on=GROUP, how="left").join(_failures(edits), on=GROUP, how="left")
    counted = [name for name in table.columns if name.startswith("n_") or name.endswith("_n")]
    return table.with_columns(pl.col(counted).fill_null(0)).sort(GROUP)


def _numbers() -> list[pl.Expr]:
    denominator = pl.col("denominator")
    return [
        pl.len().cast(pl.Int64).alias("n_ok"),
        *(_count(name).alias(f"n_{name}") for name in COLLAPSES),
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
    """Mean of each metric and over how many edits; a third party's metrics are treated alike."""
    names = [*METRIC_COLUMNS, *extra_columns(edits)]
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
