"""The section on prefixes at test time, with intervals."""

import polars as pl

from editcore.numbers import in_percent
from editcore.records.mechanism_schemas import PROMPTING
from editcore.report.data import ReportData
from editcore.report.section import PageSection, Part
from editcore.report.tables import Table

METRICS = ("efficacy", "generalization", "locality")
GROUP = ("model", "editor", "dataset")
BARE, PREFIXED = "none", "rewrite"


def section(study: ReportData) -> PageSection | None:
    """Efficacy, generalization and locality without and with a prefix."""
    found = study.table("mechanism-prompting", PROMPTING)
    if found is None:
        return None
    return PageSection(
        anchor="prompting",
        title="Prefixes at test time",
        part=Part.EDITS,
        point=point(found),
        paragraphs=(
            "An edit bound to the mean key takes effect after a prefix, but not always without "
            "one. “Rewrite”: only the edited prompt is prefixed, as published; “all”: its "
            "paraphrases and neighbours too. Efficacy is each edit’s mean over up to five "
            "prefixes; the others are measured after one.",
        ),
        tables=(_table(found),),
    )


def point(found: pl.DataFrame) -> str:
    """The edits whose efficacy a prefix changes most, of all models, editors and data sets."""
    wide = found.filter(pl.col("share").is_not_null(), metric=METRICS[0]).pivot(
        "prefixed", index=[*GROUP], values="share"
    )
    if (
        not {BARE, PREFIXED} <= {*wide.columns}
        or (both := wide.drop_nulls([BARE, PREFIXED])).is_empty()
    ):
        return "No edit was tested both bare and after a prefix."
    row = both.sort((pl.col(BARE) - pl.col(PREFIXED)).abs(), descending=True).row(0, named=True)
    return (
        f"A prefix changes efficacy most for edits by {row['editor']} of {row['model']} on "
        f"{row['dataset']} cases: {in_percent(row[BARE])} bare, {in_percent(row[PREFIXED])} after "
        "a prefix."
    )


def _table(found: pl.DataFrame) -> Table:
    heads = ("model", "editor", "data set", "prefixed", *METRICS, "n")
    rows = []
    keys = ["model", "editor", "dataset", "prefixed"]
    for names, group in found.group_by(keys, maintain_order=True):
        by_metric = {row["metric"]: row for row in group.iter_rows(named=True)}
        cells = [
            f"{row['share']:.1%} ({row['low']:.1%} to {row['high']:.1%})" if row else "–"
            for row in (by_metric.get(metric) for metric in METRICS)
        ]
        rows.append((*map(str, names), *cells, f"{max(group['n'].to_list()):,}"))
    caption = "Shares of target tokens, bare and after prefixes, with 95 % Wilson intervals."
    return Table(caption, heads, tuple(rows), len(keys))
