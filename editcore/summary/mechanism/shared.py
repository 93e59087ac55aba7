"""What cases that collapse a model have in common, and how well it predicts collapse (Figure 3)."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl

from editcore.collapse.calibration import area

QUANTITIES: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "subject_position": pl.col("subject_position"),
        "subject_tokens": pl.col("subject_tokens"),
        "token_frequency": pl.col("token_frequency"),
        "denominator": pl.col("denominator"),
    }
)


def rows(updates: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of `SHARED`, from the edits with `mixed` keys and C.

    `auc` is how often a case that collapses the model has a smaller value than one that does not.
    """
    edits = updates.filter(pl.col("second_moment"), strategy="mixed")
    for (model,), of_model in edits.group_by("model", maintain_order=True):
        collapsed = of_model["collapsed"].to_list()
        for name, quantity in QUANTITIES.items():
            values = of_model.select(quantity.cast(pl.Float64).alias("v"))["v"]
            broken = values.filter(of_model["collapsed"])
            whole = values.filter(~of_model["collapsed"])
            yield {
                "model": model,
                "quantity": name,
                "auc": area((-values).to_list(), collapsed),
                "mean_collapsed": broken.mean(),
                "mean_others": whole.mean(),
                "n_collapsed": len(broken),
                "n_others": len(whole),
            }
