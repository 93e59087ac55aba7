"""Tests how well quantities known before an edit predict what it does to a model.

Each predictor is fitted on one half of a model's edits, and tested on the other half and on all
edits of every other model; and it is fitted on all models but one, each with the same weight, and
tested on that one. The result is one table. One threshold is not fitted: `sample_changed` estimates
what the grade is about, so harm is expected from the same limit on.
"""

import random
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from editcore.collapse import calibration as calibrations
from editcore.collapse.calibration import Calibration
from editcore.collapse.forecast import Forecaster
from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.config.collapse import CollapseSection
from editcore.numbers import real
from editcore.records.columns import keys
from editcore.records.model_schemas import WARNING
from editcore.requests import OK

SEED = 0  # for drawing the halves
ALL = "*"  # in place of an editor's label: all editors
OTHERS = "*"  # in place of the model that a predictor was fitted on: all but the tested one
KEYS = keys(WARNING)
NO_ALIASES: Mapping[str, str] = MappingProxyType({})

# The predictor that forecasts are made with, by target.
FORECASTS: Mapping[str, str] = MappingProxyType(
    {"harmed": "sample_changed", "collapsed": "sample_ratio"}
)
FROM_PROMPT = "exposure"  # the one of those before v* is searched for

# Each increases with the risk, and is null if the edit has no such quantity.
PREDICTORS: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "sample_changed": pl.col("sample_changed"),
        "sample_ratio": pl.col("sample_ratio"),
        "output_change": pl.col("output_change"),
        "warning": pl.col("warning"),
        "exposure": pl.col("exposure"),
        "key_match": 1 / pl.col("key_match"),
        "denominator": 1 / pl.col("denominator"),
        "subject_position": 1 / (1 + pl.col("subject_position").cast(pl.Float64)),
        "relative_change": pl.col("delta_norm") / pl.col("weight_norm"),
    }
)

# What is predicted; null if it is not known of an edit.
TARGETS: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "harmed": pl.col("grade").is_in([DAMAGED, COLLAPSED]),
        "collapsed": pl.col("collapsed"),
    }
)


def evaluate(
    edits: pl.DataFrame,
    rule: CollapseSection,
    seed: int = SEED,
    aliases: Mapping[str, str] = NO_ALIASES,
) -> pl.DataFrame:
    """The table `WARNING`, from the edits that succeeded, judged by `rule`.

    A case's half depends on seed, data set and case only: it is the same for every model and
    editor, and in every study with this seed. Labels with the same value in `aliases` are the same
    model, which is left out under all of them.
    """
    made = edits.filter(pl.col("status") == OK, pl.col("collapsed").is_not_null())
    halves = [
        in_first_half(seed, dataset, case)
        for dataset, case in made.select("dataset", "case_id").iter_rows()
    ]
    made = made.with_columns(
        first_half=pl.Series(halves, dtype=pl.Boolean),
        same=pl.col("model").replace(dict(aliases)),
    )
    rows = [
        row
        for target in TARGETS
        for name in PREDICTORS
        for limit in (_limit(name, target, rule),)
        for found in (
            _within_and_across(made, name, target, limit),
            _left_out(made, name, target, limit),
        )
        for row in found
    ]
    return pl.DataFrame(rows, schema=pl.Schema({f.name: _kind(f) for f in WARNING})).sort(KEYS)


def in_first_half(seed: int, dataset: str, case_id: int) -> bool:
    """Whether a case is in the half that predictors are fitted on."""
    return random.Random(f"{seed}:{dataset}:{case_id}").random() < 0.5


def forecaster(
    edits: pl.DataFrame, rule: CollapseSection, models: Mapping[str, str], made_from: str
) -> Forecaster:
    """The calibrations for harm and for collapse, on the edits that succeeded, judged by `rule`.

    Each model has the same weight. `models` are the sources of the models by label.
    """
    made = edits.filter(pl.col("status") == OK, pl.col("collapsed").is_not_null())
    scored = {target: scores(made, FORECASTS[target], target) for target in TARGETS}
    harmed, collapsed = (
        _fit(scored[target], _limit(FORECASTS[target], target, rule))
        for target in ("harmed", "collapsed")
    )
    prompt = _fit(scores(made, FROM_PROMPT, "harmed"))
    count = len(scored["collapsed"])
    return Forecaster(harmed, collapsed, count, models, made_from, prompt=prompt)


def scores(edits: pl.DataFrame, predictor: str, target: str) -> pl.DataFrame:
    """The columns `score`, `hit`, `collapsed` and `model` of the edits that have these."""
    scored = edits.select(
        PREDICTORS[predictor].alias("score"), TARGETS[target].alias("hit"), "collapsed", "model"
    )
    return scored.filter(pl.col("score").is_not_nan(), pl.col("hit").is_not_null())


def _limit(predictor: str, target: str, rule: CollapseSection) -> float | None:
    """The threshold that is known without a fit; None for all predictors but one."""
    same = target == "harmed" and predictor == FORECASTS[target]
    return rule.damage if same else None


def _within_and_across(
    made: pl.DataFrame, predictor: str, target: str, limit: float | None
) -> Iterator[dict[str, Any]]:
    """Fitted on one half of a model's edits; tested on the other half, and on other models."""
    for editor, edits in _by_editor(made).items():
        by_model = {model: edits.filter(model=model) for model in _labels(edits, "model")}
        for model, own in by_model.items():
            first = scores(own.filter(pl.col("first_half")), predictor, target)
            if first.is_empty():
                continue
            fitted = _fit(first, limit)
            second = {**by_model, model: own.filter(~pl.col("first_half"))}
            for tested_on, others in second.items():
                named = (model, tested_on, editor, predictor, target)
                yield _row(named, first, fitted, scores(others, predictor, target))


def _left_out(
    made: pl.DataFrame, predictor: str, target: str, limit: float | None
) -> Iterator[dict[str, Any]]:
    """Fitted on all editors' edits of all other models; tested on each editor's of this one."""
    for model in _labels(made, "model"):
        own = made.filter(model=model)
        first = scores(made.filter(pl.col("same") != own["same"][0]), predictor, target)
        if first.is_empty():
            continue
        fitted = _fit(first, limit)
        for editor, edits in _by_editor(own).items():
            named = (OTHERS, model, editor, predictor, target)
            yield _row(named, first, fitted, scores(edits, predictor, target))


def _by_editor(made: pl.DataFrame) -> dict[str, pl.DataFrame]:
    editors = _labels(made, "editor")
    together = {ALL: made} if len(editors) > 1 else {}
    return together | {editor: made.filter(editor=editor) for editor in editors}


def _labels(made: pl.DataFrame, column: str) -> list[str]:
    return made[column].unique().sort().to_list()


def _fit(scored: pl.DataFrame, limit: float | None = None) -> Calibration | None:
    if scored.is_empty():
        return None
    weights = calibrations.balanced(scored["model"].to_list())
    return calibrations.fit(scored["score"].to_list(), scored["hit"].to_list(), weights, limit)


def _row(
    named: tuple[str, ...],
    first: pl.DataFrame,
    fitted: Calibration | None,
    second: pl.DataFrame,
) -> dict[str, Any]:
    """One predictor, fitted on the first edits and tested on the second."""
    values, hit = second["score"].to_list(), second["hit"].to_list()
    row: dict[str, Any] = dict(zip(KEYS, named, strict=True)) | {
        "n_calibrated": len(first),
        "n_calibrated_hits": int(first["hit"].sum()),
        "n": len(second),
        "n_hits": sum(hit),
        "auc": calibrations.area(values, hit),
    }
    if fitted is not None:
        found = calibrations.recall_and_precision(values, hit, fitted.threshold)
        row |= dict(zip(("recall", "precision"), found, strict=True))
        row |= _alarms(second, fitted.threshold)
        row |= {name: getattr(fitted, name) for name in ("threshold", "intercept", "slope")}
    return row


def _alarms(second: pl.DataFrame, threshold: float) -> dict[str, float | None]:
    """Shares of edits at or above a threshold: of the collapses, and of those that are no hits."""
    alarm = second["score"] >= threshold
    shares = {"recall_collapsed": second["collapsed"], "false_alarms": ~second["hit"]}
    return {name: real(alarm.filter(those).mean()) for name, those in shares.items()}


def _kind(field: pa.Field) -> Any:
    kinds = {pa.string(): pl.String, pa.int64(): pl.Int64, pa.float64(): pl.Float64}
    return kinds[field.type]
