"""Tests how well quantities known before an edit predict collapse.

Each predictor is calibrated on one half of a model's edits, and tested on the other half and on all
edits of every other model. The result is one table.
"""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from editcore.collapse import calibration as calibrations
from editcore.collapse.calibration import Calibration
from editcore.errors import DataError
from editcore.records.columns import keys
from editcore.records.schemas import WARNING
from editcore.records.tables import read_table
from editcore.requests import OK

SEED = 0  # for drawing the halves
ALL = "*"  # in place of an editor's label: all editors
KEYS = keys(WARNING)

# Each increases with the risk of collapse, and is null if the edit has no such quantity.
PREDICTORS: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "warning": pl.col("warning"),
        "key_match": 1 / pl.col("key_match"),
        "relative_change": pl.col("delta_norm") / pl.col("weight_norm"),
        "denominator": 1 / pl.col("denominator"),
        "denominator_ratio": pl.col("denominator_usual") / pl.col("denominator"),
        "subject_position": 1 / (1 + pl.col("subject_position").cast(pl.Float64)),
    }
)


def evaluate(edits: pl.DataFrame, seed: int = SEED) -> pl.DataFrame:
    """The table `WARNING`, from the edits that succeeded.

    A case's half depends on seed, data set and case only: it is the same for every model and
    editor, and in every study with this seed.
    """
    made = edits.filter(pl.col("status") == OK, pl.col("collapsed").is_not_null())
    halves = [
        in_first_half(seed, dataset, case)
        for dataset, case in made.select("dataset", "case_id").iter_rows()
    ]
    made = made.with_columns(first_half=pl.Series(halves, dtype=pl.Boolean))
    rows = [row for name in PREDICTORS for row in _rows(made, name)]
    return pl.DataFrame(rows, schema=pl.Schema({f.name: _kind(f) for f in WARNING})).sort(KEYS)


def in_first_half(seed: int, dataset: str, case_id: int) -> bool:
    """Whether a case is in the half that predictors are fitted on."""
    return random.Random(f"{seed}:{dataset}:{case_id}").random() < 0.5


def calibration(path: Path, model: str, editor: str = ALL) -> Calibration:
    """The calibration of the warning for a model, from a study's `warning.parquet`.

    Raises `DataError` if there is none: no such model or editor, or only edits of one kind.
    """
    table = read_table(path, WARNING).filter(
        calibrated_on=model, tested_on=model, editor=editor, predictor="warning"
    )
    if table.is_empty() or table["threshold"][0] is None:
        raise DataError(
            f"{path}: contains no calibration for {model!r} and the editor {editor!r}; "
            "name others, or use a study in which some of their edits collapsed and others did not"
        )
    row = table.row(0, named=True)
    counts = row["n_calibrated"], row["n_calibrated_collapsed"]
    return Calibration(
        row["intercept"], row["slope"], row["threshold"], *counts, f"{model}, {path}"
    )


def scores(edits: pl.DataFrame, predictor: str) -> pl.DataFrame:
    """The columns `score` and `collapsed` of the edits that have this predictor."""
    scored = edits.select(PREDICTORS[predictor].alias("score"), "collapsed")
    return scored.filter(pl.col("score").is_not_null() & pl.col("score").is_not_nan())


def _rows(made: pl.DataFrame, predictor: str) -> Iterator[dict[str, Any]]:
    models = made["model"].unique().sort().to_list()
    editors = made["editor"].unique().sort().to_list()
    for editor in [*([ALL] if len(editors) > 1 else []), *editors]:
        of_editor = made if editor == ALL else made.filter(editor=editor)
        for model in models:
            own = of_editor.filter(model=model)
            first = scores(own.filter(pl.col("first_half")), predictor)
            if first.is_empty():
                continue
            for other in models:
                second = (
                    own.filter(~pl.col("first_half"))
                    if other == model
                    else of_editor.filter(model=other)
                )
                found = _tested(first, scores(second, predictor), f"{model}, {editor}")
                yield dict(zip(KEYS, (model, other, editor, predictor), strict=True)) | found


def _tested(first: pl.DataFrame, second: pl.DataFrame, made_from: str) -> dict[str, Any]:
    """One predictor, fitted on the first edits and tested on the second."""
    fitted = calibrations.fit(first["score"].to_list(), first["collapsed"].to_list(), made_from)
    values, collapsed = second["score"].to_list(), second["collapsed"].to_list()
    row: dict[str, Any] = {
        "n_calibrated": len(first),
        "n_calibrated_collapsed": int(first["collapsed"].sum()),
        "n": len(second),
        "n_collapsed": sum(collapsed),
        "auc": calibrations.area(values, collapsed),
    }
    if fitted is not None:
        found = calibrations.recall_and_precision(values, collapsed, fitted.threshold)
        row |= dict(zip(("recall", "precision"), found, strict=True))
        row |= {name: getattr(fitted, name) for name in ("threshold", "intercept", "slope")}
    return row


def _kind(field: pa.Field) -> Any:
    kinds = {pa.string(): pl.String, pa.int64(): pl.Int64, pa.float64(): pl.Float64}
    return kinds[field.type]
