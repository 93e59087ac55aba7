"""Rows of sequential edits by model, editor and data set, in the order of the config."""

from itertools import product

import polars as pl

from editcore.report.data import ReportData

DRAWN = "drawn"
GROUP = ("model", "editor", "dataset", "batch", "arrangement")


def groups(study: ReportData, rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each combination of the columns in `GROUP`, all seeds together."""
    models, editors, datasets = (present(study, rows, column) for column in GROUP[:3])
    split = rows.partition_by(GROUP, as_dict=True)
    places = product(models, editors, datasets, batches(rows), arrangements(rows))
    return [split[place] for place in places if place in split]


def named(group: pl.DataFrame) -> tuple[str, ...]:
    """A group's cells in a table: model, editor, data set with its arrangement, and batch."""
    model, editor, dataset, batch, arrangement = (str(group[name][0]) for name in GROUP)
    placed = dataset if arrangement == DRAWN else f"{dataset}, {arrangement}"
    return model, editor, placed, batch


def batches(rows: pl.DataFrame) -> list[int]:
    """The numbers of facts per step that there are."""
    return rows["batch"].unique().sort().to_list()


def arrangements(rows: pl.DataFrame) -> list[str]:
    """The arrangements of facts that there are: those in the order drawn come first."""
    return sorted(set(rows["arrangement"]), key=lambda name: (name != DRAWN, name))


def places(study: ReportData, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each data set, number of facts per step and arrangement, named by what varies."""
    datasets, steps, orders = present(study, rows, "dataset"), batches(rows), arrangements(rows)
    found = {}
    for dataset, batch, arrangement in product(datasets, steps, orders):
        some = rows.filter(dataset=dataset, batch=batch, arrangement=arrangement)
        per_step = f", {batch} per step" if len(steps) > 1 else ""
        order = f", {arrangement}" if len(orders) > 1 else ""
        if not some.is_empty():
            found[f"{dataset}{per_step}{order}"] = some
    return found


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
