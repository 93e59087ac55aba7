"""Judges whether an edited model has collapsed, and warns before it is edited."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import polars as pl

from editcore.collapse import calibration as calibrations
from editcore.collapse.calibration import Calibration, Forecast
from editcore.config.collapse import CollapseSection
from editcore.errors import DataError

if TYPE_CHECKING:
    from editcore.keyvalue.second_moment import SecondMoment
    from editcore.models.loading import LoadedModel
    from editcore.updates.delta import Delta


@dataclass(frozen=True)
class Verdict:
    """The verdicts by both thresholds, and the one that the rule selects."""

    collapsed: bool
    collapsed_perplexity: bool
    collapsed_ratio: bool


VERDICT_COLUMNS = tuple(field.name for field in fields(Verdict))


def judge(perplexity: float, unedited: float, rule: CollapseSection) -> Verdict:
    """The verdict on a perplexity; a non-finite one is a collapse by either threshold.

    >>> judge(2000.0, 500.0, CollapseSection())
    Verdict(collapsed=False, collapsed_perplexity=True, collapsed_ratio=False)
    """
    limits = rule.limits(unedited)
    above = {
        name: not math.isfinite(perplexity) or perplexity > limit for name, limit in limits.items()
    }
    return Verdict(above[rule.verdict], above["perplexity"], above["ratio"])


def judged(rows: pl.DataFrame, rule: CollapseSection) -> pl.DataFrame:
    """Measured rows with the columns of `Verdict`; null if no perplexity was measured.

    The columns `perplexity` and `perplexity_base` are read. Raises `DataError` for a row with the
    first and without the second.
    """
    lacking = rows.filter(pl.col("perplexity").is_not_null(), pl.col("perplexity_base").is_null())
    if len(lacking):
        raise DataError(
            f"perplexity_base is null in {len(lacking)} rows with a perplexity, so their collapse "
            "cannot be judged; delete the table that they come from and run its job again"
        )
    verdicts = [
        None if perplexity is None else judge(perplexity, unedited, rule)
        for perplexity, unedited in rows.select("perplexity", "perplexity_base").iter_rows()
    ]
    columns: dict[str, list[Any]] = {
        name: [verdict and getattr(verdict, name) for verdict in verdicts]
        for name in VERDICT_COLUMNS
    }
    return rows.with_columns(pl.Series(n, c, dtype=pl.Boolean) for n, c in columns.items())


def warn(
    model: "LoadedModel",
    delta: "Delta",
    moments: "Mapping[int, SecondMoment] | None" = None,
    calibration: Calibration | None = None,
) -> Forecast:
    """A prediction, before any weight changes, of whether a weight change will collapse a model.

    The score is how much the change adds to the outputs of the maps it changes, relative to these
    outputs (`editcore.collapse.predictor`); it is the column `warning` of the edit rows. `moments`
    are C by layer; for a map without one the score is ‖Δ‖/‖W‖. The default `calibration` is that of
    the bundled models (`editcore.collapse.calibration.load`); that of your own study, from
    `editcore.collapse.backtest.calibration`, fits its models and editors better.
    """
    from editcore.collapse.predictor import ActivationShift

    known = calibrations.load() if calibration is None else calibration
    return known.forecast(ActivationShift(model, moments or {}).of(delta))
