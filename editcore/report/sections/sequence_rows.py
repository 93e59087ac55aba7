"""Rows of sequential edits by model, editor and data set, in the order of the config."""

from itertools import product

import polars as pl

from editcore.report.data import ReportData

GROUP = ("model", "editor", "dataset", "batch")


def groups(study: ReportData, rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each model, editor, data set and number of facts per step, all seeds together."""
    models, editors, datasets = (present(study, rows, column) for column in GROUP[:3])
    split = rows.partition_by(GROUP, as_dict=True)
    places = product(models, editors, datasets, batches(rows))
    return [split[place] for place in places if place in split]


def batches(rows: pl.DataFrame) -> list[int]:
    """The numbers of facts per step that there are."""
    return rows["batch"].unique().sort().to_list()


def places(study: ReportData, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each data set, and of each number of facts per step if there are several."""
    steps = batches(rows)
    return {
        dataset if len(steps) == 1 else f"{dataset}, {batch} per step": rows.filter(
            dataset=dataset, batch=batch
        )
        for dataset in present(study, rows, "dataset")
        for batch in steps
    }


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
