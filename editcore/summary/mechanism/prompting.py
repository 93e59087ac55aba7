"""Metrics without and with a prefix, with intervals, from the edit rows (Tables 4 and 5)."""

import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from editcore.requests import OK

METRICS = ("efficacy", "generalization", "locality")
Z = 1.959963984540054  # the normal distribution's 97.5 % point
# The prompts tested after a prefix; as published, only the edited one (`rewrite`).
WAYS = ("none", "rewrite", "all")


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; `hits` may be a sum of shares.

    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    share = hits / n
    centre = share + Z**2 / (2 * n)
    spread = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low, high = ((centre + sign * spread) / (1 + Z**2 / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def column(metric: str, way: str) -> str:
    """The edit rows' column of a metric, tested in one of `WAYS`."""
    prefixed = way == "all" or (way == "rewrite" and metric == "efficacy")
    return f"{metric}_prefixed" if prefixed else metric


def rows(edits: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of `PROMPTING`: every editor and data set, tested in every way."""
    made = edits.filter(pl.col("status") == OK)
    groups = made.group_by("model", "editor", "dataset", maintain_order=True)
    for (model, editor, dataset), group in groups:
        for way in WAYS:
            for metric in METRICS:
                values = group[column(metric, way)].drop_nulls()
                if values.is_empty():
                    continue
                low, high = wilson(float(values.sum()), len(values))
                yield {
                    "model": model,
                    "editor": editor,
                    "dataset": dataset,
                    "prefixed": way,
                    "metric": metric,
                    "share": float(values.sum()) / len(values),
                    "low": low,
                    "high": high,
                    "n": len(values),
                }
