"""The section on prefixes at test time, with intervals."""

import polars as pl

from editcore.records.mechanism_schemas import PROMPTING
from editcore.report.data import ReportData
from editcore.report.section import PageSection
from editcore.report.tables import Table

METRICS = ("efficacy", "generalization", "locality")


def section(study: ReportData) -> PageSection | None:
    """Efficacy, generalization and locality without and with a prefix."""
    found = study.table("mechanism-prompting", PROMPTING)
    if found is None:
        return None
    return PageSection(
        "prompting",
        "Prefixes at test time",
        (
            "An edit bound to the mean key takes effect after a prefix, but not always without "
            "one. “Rewrite”: only the edited prompt is prefixed, as published; “all”: its "
            "paraphrases and neighbours too. Efficacy is each edit’s mean over up to five "
            "prefixes; the others are measured after one. The numbers are shares of target "
            "tokens, with 95 % Wilson intervals.",
        ),
        (),
        (_table(found),),
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
    caption = "Tests of every edit, bare and after prefixes."
    return Table(caption, heads, tuple(rows), len(keys))
