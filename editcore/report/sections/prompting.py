"""The section on prefixes at test time."""

import polars as pl

from editcore.numbers import in_percent
from editcore.records.mechanism_schemas import PROMPTING
from editcore.report.data import ReportData
from editcore.report.section import PageSection, Part

METRIC = "efficacy"
GROUP = ("model", "editor", "dataset")
BARE, PREFIXED = "none", "rewrite"


def section(study: ReportData) -> PageSection | None:
    """What a prefix at test time changes; None if it was not measured."""
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
            "one. Efficacy is each edit’s mean over up to five prefixes. All editors, "
            "generalization and locality, tests with other prompts prefixed too, and 95 % Wilson "
            "intervals are in summary/mechanism-prompting.parquet.",
        ),
    )


def point(found: pl.DataFrame) -> str:
    """The edits whose efficacy a prefix changes most, of all models, editors and data sets."""
    wide = found.filter(pl.col("share").is_not_null(), metric=METRIC).pivot(
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
