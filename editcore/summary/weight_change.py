"""The absolute change of an edited matrix, small enough to be shown.

As "The Butterfly Effect of Model Editing", Figure 3, shows it.
"""

import polars as pl
import pyarrow as pa

from editcore.records.tables import CASE_KEYS, schema
from editcore.requests import OK

WEIGHTS = schema(
    "weight_change/1",
    (*CASE_KEYS, "parameter", "row", "column"),
    {
        "model": pa.string(),
        "editor": pa.string(),
        "dataset": pa.string(),
        "case_id": pa.int64(),
        "parameter": pa.string(),
        "row": pa.int32(),
        "column": pa.int32(),
        "change": pa.float64(),
        "d_out": pa.int64(),
        "d_in": pa.int64(),
        "collapsed": pa.bool_(),
        "perplexity": pa.float64(),
    },
)


def contrasted(edits: pl.DataFrame) -> pl.DataFrame:
    """The edit that collapsed the model most, and the same editor's of median size that did not.

    Infinite perplexity is left out, and so is an editor whose edits all went the same way.
    """
    measured = edits.filter(
        pl.col("status") == OK, pl.col("perplexity").is_finite(), pl.col("delta_norm") > 0
    )
    order = ["perplexity", "editor", "dataset", "case_id"]
    worst = measured.filter(pl.col("collapsed")).sort(order, descending=[True, False, False, False])
    for editor in worst["editor"].unique(maintain_order=True):
        mild = measured.filter(pl.col("editor") == editor, ~pl.col("collapsed"))
        mild = mild.sort("delta_norm", "dataset", "case_id")
        if not mild.is_empty():
            hard = worst.filter(pl.col("editor") == editor).head(1)
            return pl.concat([hard, mild.slice(len(mild) // 2, 1)])
    return measured.clear()
