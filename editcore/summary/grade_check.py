"""Compares grades with abilities: did models that were graded as harmed lose task scores?"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import share
from editcore.records.schemas import CASE_KEYS

FALL = 0.10  # of a score between 0 and 1; more than the noise of a few hundred items
KEYS = [*CASE_KEYS]
HEADS = ("model", "edited models", "harmed", "lost", "both", "recall", "precision")
"""The heads of a table of what `compared` finds; `cells` are its rows."""


def falls(scores: pl.DataFrame) -> pl.DataFrame:
    """For each edited model its keys and `fall`, the largest loss of score in any of the tasks.

    The loss is that against the unedited model; a score that is not finite counts as 0.
    """
    unedited = scores.filter(pl.col("case_id").is_null()).select("model", "task", was="score")
    edited = scores.filter(pl.col("case_id").is_not_null()).join(unedited, on=["model", "task"])
    lost = (pl.col("was") - pl.col("score").fill_null(0.0)).max()
    return edited.group_by(KEYS).agg(fall=lost).drop_nulls("fall").sort(KEYS)


def compared(cases: pl.DataFrame, scores: pl.DataFrame) -> list[dict[str, Any]]:
    """A row for each model: how often a grade other than sound and a fall of `FALL` coincide.

    `n` edited models did tasks; `harmed` were graded as damaged or collapsed; of `fell`, some score
    fell by more than `FALL`; `both` are in both. `recall` is `both` over `fell`, `precision` `both`
    over `harmed`; None without any.
    """
    graded = cases.filter(pl.col("grade").is_not_null()).select(*KEYS, "grade")
    found = falls(scores).join(graded, on=KEYS)
    flagged = found.with_columns(
        harmed=pl.col("grade").is_in([DAMAGED, COLLAPSED]), fell=pl.col("fall") > FALL
    )
    counts = flagged.group_by("model").agg(
        pl.len().alias("n"),
        pl.col("harmed").sum(),
        pl.col("fell").sum(),
        both=(pl.col("harmed") & pl.col("fell")).sum(),
    )
    return [
        row
        | {
            "recall": _share(row["both"], row["fell"]),
            "precision": _share(row["both"], row["harmed"]),
        }
        for row in counts.sort("model").to_dicts()
    ]


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    """The rows of `compared` as text."""
    return tuple(
        (
            row["model"],
            *(f"{row[name]:,}" for name in ("n", "harmed", "fell", "both")),
            *(share(row[name]) for name in ("recall", "precision")),
        )
        for row in rows
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
