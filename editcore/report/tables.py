"""The report's tables as plain cells."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import MISSING, count, in_percent, number, percent, share, times
from editcore.records.metric_columns import FREE_COLUMNS, MEAN_COLUMNS, PROBE_COLUMNS
from editcore.records.model_schemas import ROUNDING
from editcore.report.data import ReportData
from editcore.requests import OK

Row = dict[str, Any]
WHERE = ("model", "editor", "data set")
COMPARED = ("efficacy", "generalization", "locality")
MOVED = ("kl_mean", "kl_upper", "top1_kept", "perplexity_ratio")


@dataclass(frozen=True)
class Table:
    """A caption, the column heads and the cells; the first `labels` columns are text."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = len(WHERE)


def comparison_table(study: ReportData) -> Table:
    """All editors side by side on each model's data sets: metrics and damage."""
    places = {editor: place for place, editor in enumerate(study.editors)}
    groups: list[Row] = sorted(
        study.groups(),
        key=lambda row: (
            study.models.index(row["model"]),
            study.datasets.index(row["dataset"]),
            places[row["editor"]],
        ),
    )
    rows = [
        (
            row["model"],
            row["dataset"],
            row["editor"],
            f"{row['n_ok']:,}",
            *(share(row[f"{metric}_mean"]) for metric in COMPARED),
            times(row["ratio_median"]),
            times(row["ratio_max"]),
            percent(row["n_damaged"], row["n_ok"]),
            percent(row["n_collapsed"], row["n_ok"]),
        )
        for row in groups
    ]
    heads = ("model", "data set", "editor", "edits", *COMPARED)
    caption = (
        "Every editor on the same cases. Efficacy, generalization and locality are means between 0 "
        "and 1. The last columns are the edited model’s perplexity relative to the unedited one’s "
        "(median and worst case) and the shares of edits that damaged or collapsed the model."
    )
    last = ("median ratio", "worst ratio", "damaged", "collapsed")
    return Table(caption, (*heads, *last), tuple(rows))


def verdict_table(study: ReportData) -> Table:
    """Per group: the numbers of edits, damaged and collapsed ones, and perplexities."""
    collapse = study.collapse
    heads = (
        *WHERE,
        "cases",
        "damaged",
        "share",
        "collapsed",
        "share",
        "failed",
        f"above ×{number(collapse.ratio)}",
        f"above {number(collapse.perplexity)}",
        "unedited",
        "median",
        "worst",
        "worst ratio",
    )
    rows = [
        (
            *_where(row),
            f"{row['n']:,}",
            count(row["n_damaged"]),
            percent(row["n_damaged"], row["n_ok"]),
            f"{row['n_collapsed']:,}",
            percent(row["n_collapsed"], row["n_ok"]),
            f"{row['n'] - row['n_ok']:,}",
            f"{row['n_collapsed_ratio']:,}",
            f"{row['n_collapsed_perplexity']:,}",
            number(row["perplexity_base"]),
            number(row["perplexity_median"]),
            number(row["perplexity_max"]),
            times(row["ratio_max"]),
        )
        for row in study.groups()
    ]
    caption = (
        f"“Collapsed” means a perplexity above {collapse.in_words()}; each perplexity is a mean "
        "over the texts. “Damaged” means that the model has not collapsed, but the edit changed "
        f"its likeliest next token at more than {in_percent(collapse.damage)} of their tokens."
    )
    return Table(caption, heads, tuple(rows))


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
    heads = ("model", "", "edits", "mean divergence", "99th percentile", "same token", "ratio")
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


def denominator_table(study: ReportData) -> Table:
    """Per group: the absolute denominators of the updates, and their numerators' mean norm."""
    keys = ("denominator_median", "denominator_min", "denominator_max", "numerator_norm_mean")
    rows = [
        (*_where(row), f"{row['denominator_n']:,}", *(number(row[key]) for key in keys))
        for row in study.groups()
        if row["denominator_n"]
    ]
    heads = (*WHERE, "edits", "median", "least", "greatest", "mean |numerator|")
    caption = "|Denominator| of the update. The smaller it is, the larger the weight change."
    return Table(caption, heads, tuple(rows))


def metric_table(study: ReportData) -> Table:
    """Per group: efficacy, generalization and locality bare and prefixed."""
    keys = (*MEAN_COLUMNS[:6], *FREE_COLUMNS)
    heads = (*WHERE, *(key.replace("_prefixed", ", prefixed").replace("_", " ") for key in keys))
    caption = (
        "Means of the metrics as the collapse papers define them: the share of target tokens that "
        "the edited model ranks first (locality: whose top-ranked token did not change). "
        "“Prefixed”: after prefixes used for editing, efficacy as the mean over up to five per "
        "edit, the others after one. “Free”: the share of edited models that, asked freely, write "
        "the new object."
    )
    return Table(caption, heads, _means(study, keys))


def score_table(study: ReportData) -> Table:
    """Per group: the scores that compare the probabilities of the two objects."""
    keys = MEAN_COLUMNS[6:9]
    heads = (*WHERE, *(key.replace("_", " ") for key in keys))
    caption = (
        "Means of the scores of Meng et al. (2022): how often the new object is more probable than "
        "the true one or, for neighbours, the true one is more probable than the new one."
    )
    return Table(caption, heads, _means(study, keys))


def extra_table(study: ReportData) -> Table | None:
    """Per group: the metrics that other plugins provide; None if there are none."""
    names = [name.removesuffix("_mean") for name in study.verdicts.columns if _is_extra(name)]
    if not names:
        return None
    return Table("Means of further metrics.", (*WHERE, *names), _means(study, names, number))


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


def _means(
    study: ReportData, keys: Sequence[str], shown: Callable[[float | None], str] = share
) -> tuple[tuple[str, ...], ...]:
    groups: Iterable[Row] = study.groups()
    return tuple(
        (*_where(row), *(shown(row[f"{key}_mean"]) for key in keys))
        for row in groups
        if any(row[f"{key}_n"] for key in keys)
    )
