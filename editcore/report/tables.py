"""The report's tables as plain cells."""

import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import MISSING, number, share, times
from editcore.records.metric_columns import FREE_COLUMNS, MEAN_COLUMNS, PROBE_COLUMNS
from editcore.records.model_schemas import ROUNDING
from editcore.report.data import ReportData
from editcore.requests import OK

Row = dict[str, Any]
WHERE = ("model", "editor", "data set")
DENOMINATORS = (
    "denominator_median",
    "denominator_min",
    "denominator_max",
    "numerator_norm_mean",
)
MOVED = ("kl_mean", "kl_upper", "top1_kept", "perplexity_ratio")


@dataclass(frozen=True)
class Table:
    """A caption, the column heads and the cells; the first `labels` columns are text."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = len(WHERE)


def harm_table(study: ReportData) -> Table:
    """Per group: perplexity relative to the unedited model's, and denominators if any edit has one.

    The number of edits above a threshold is of the one that does not decide what has collapsed.
    """
    collapse = study.collapse
    by_ratio = collapse.verdict == "ratio"
    other = (
        f"above {number(collapse.perplexity)}" if by_ratio else f"above ×{number(collapse.ratio)}"
    )
    column = "n_collapsed_perplexity" if by_ratio else "n_collapsed_ratio"
    groups = study.groups()
    divided = any(row["denominator_n"] for row in groups)
    heads = (*WHERE, "edits", "median ratio", "worst ratio", other)
    rows = [
        (
            *_where(row),
            f"{row['n_ok']:,}",
            times(row["ratio_median"]),
            times(row["ratio_max"]),
            f"{row[column]:,}",
            *((number(row[name]) for name in DENOMINATORS) if divided else ()),
        )
        for row in groups
    ]
    if not divided:
        return Table("Perplexity relative to the unedited model’s.", heads, tuple(rows))
    caption = "Perplexity relative to the unedited model’s, and |denominators| of the updates."
    last = ("median |denominator|", "least", "greatest", "mean |numerator|")
    return Table(caption, (*heads, *last), tuple(rows))


def rounding_table(study: ReportData) -> Table | None:
    """Per model: what rounding its weights, and damaged and collapsed edits, do to predictions."""
    rounded = study.table("rounding", ROUNDING)
    if rounded is None:
        return None
    rows = []
    for model in study.models:
        for row in rounded.filter(pl.col("model") == model).iter_rows(named=True):
            how = f"rounded to {row['bits']} bits"
            how += f" ({row['rounded_as']})" if row["rounded_as"] else ""
            if row["status"] == OK:
                rows.append((model, how, MISSING, *_moved(row)))
        for grade in (DAMAGED, COLLAPSED):
            made = study.made(model=model, grade=grade)
            if not made.is_empty():
                middle = made.select(pl.col(MOVED).median()).row(0, named=True)
                rows.append((model, f"{grade} by an edit", f"{len(made):,}", *_moved(middle)))
    heads = (
        "model",
        "change",
        "edits",
        "mean divergence",
        "99th percentile",
        "same token",
        "ratio",
    )
    caption = (
        "A scale for damage: what rounding the weights of the unedited model to 8 and 4 bits does "
        "to its predictions, and the medians over damaged and over collapsed edits. Divergences "
        "are in nats per token. “Same token” is the share of tokens at which the likeliest next "
        "token stays the same, and “ratio” the perplexity relative to the unedited model’s."
    )
    return Table(caption, heads, tuple(rows), 2)


def _moved(row: Row) -> tuple[str, ...]:
    divergence, upper, kept, ratio = (row[name] for name in MOVED)
    return number(divergence), number(upper), share(kept), times(ratio)


def metric_table(study: ReportData) -> Table:
    """Per group: means of all metrics that were measured, those of other plugins last."""
    keys = (*MEAN_COLUMNS[:6], *FREE_COLUMNS, *MEAN_COLUMNS[6:9])
    extra = [name.removesuffix("_mean") for name in study.verdicts.columns if _is_extra(name)]
    groups = study.groups()
    formats = dict.fromkeys(keys, share) | dict.fromkeys(extra, number)
    shown = {k: made for k, made in formats.items() if any(row[f"{k}_n"] for row in groups)}
    rows = [
        (*_where(row), *(made(row[f"{key}_mean"]) for key, made in shown.items()))
        for row in groups
        if any(row[f"{key}_n"] for key in shown)
    ]
    heads = (key.replace("_prefixed", ", prefixed").replace("_", " ") for key in shown)
    return Table("Means of the metrics.", (*WHERE, *heads), tuple(rows))


def _is_extra(column: str) -> bool:
    known = {f"{metric}_mean" for metric in (*MEAN_COLUMNS, *PROBE_COLUMNS)}
    known |= {"denominator_mean", "numerator_norm_mean"}
    return column.endswith("_mean") and column not in known


def failure_table(study: ReportData) -> Table | None:
    """The number of failed edits by reason; None if none failed."""
    rows = [
        (*_where(row), reason, f"{count:,}")
        for row in study.groups()
        for reason, count in json.loads(row["failures"] or "{}").items()
    ]
    if not rows:
        return None
    return Table("Failed edits.", (*WHERE, "reason", "edits"), tuple(rows), 4)


def _where(row: Row) -> tuple[str, str, str]:
    return row["model"], row["editor"], row["dataset"]
