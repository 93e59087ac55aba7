"""Rows of sequential edits by model, editor and data set, in the order of the config."""

import polars as pl

from editcore.report.data import ReportData

GROUP = ("model", "editor", "dataset")


def groups(study: ReportData, rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each model, editor and data set, with all seeds together."""
    labels = [present(study, rows, column) for column in GROUP]
    split = rows.partition_by(GROUP, as_dict=True)
    found = [(m, e, d) for m in labels[0] for e in labels[1] for d in labels[2]]
    return [split[key] for key in found if key in split]


def present(study: ReportData, rows: pl.DataFrame, column: str) -> list[str]:
    """The labels that have rows."""
    configured = {"model": study.models, "editor": study.editors, "dataset": study.datasets}
    there = set(rows[column])
    known = [label for label in configured[column] if label in there]
    return [*known, *sorted(there - set(known))]


def ends(group: pl.DataFrame) -> pl.DataFrame:
    """The last row of each seed's sequence."""
    return group.sort("step").group_by("order", maintain_order=True).last()


def median(values: pl.Series) -> float | None:
    """The median of values that are not null, infinity included; None if all are null."""
    kept = values.drop_nulls().sort().to_list()
    if not kept:
        return None
    low, high = kept[(len(kept) - 1) // 2], kept[len(kept) // 2]
    return float(low) if low == high else (low + high) / 2
