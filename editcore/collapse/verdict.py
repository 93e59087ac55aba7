"""When an edited model counts as collapsed, and the warning before it is edited at all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from editcore.collapse import calibration as calibrations
from editcore.collapse.calibration import Calibration, Forecast
from editcore.config.study import CollapseSection

if TYPE_CHECKING:
    from editcore.keyvalue.second_moment import SecondMoment
    from editcore.models.loading import LoadedModel
    from editcore.updates.delta import Delta


@dataclass(frozen=True)
class Verdict:
    """Both verdicts on one edit, and the one that decides."""

    collapsed: bool
    collapsed_perplexity: bool
    collapsed_ratio: bool


def judge(perplexity: float, unedited: float, thresholds: CollapseSection) -> Verdict:
    """The verdict on a perplexity; a non-finite one is a collapse by either rule.

    >>> judge(2000.0, 500.0, CollapseSection())
    Verdict(collapsed=False, collapsed_perplexity=True, collapsed_ratio=False)
    """
    broken = not math.isfinite(perplexity)
    by_perplexity = broken or perplexity > thresholds.perplexity
    by_ratio = broken or perplexity > thresholds.ratio * unedited
    decided = by_ratio if thresholds.verdict == "ratio" else by_perplexity
    return Verdict(decided, by_perplexity, by_ratio)


def warn(
    model: "LoadedModel",
    delta: "Delta",
    moments: "Mapping[int, SecondMoment] | None" = None,
    calibration: Calibration | None = None,
) -> Forecast:
    """Whether a weight change will collapse a model, said before any weight changes.

    The score is how much the change adds to the outputs of the maps it changes, relative to what
    they give by themselves (`editcore.collapse.predictor`); it is the column `warning` of the edit
    rows. `moments` are C by layer; for a map without one the score is ‖Δ‖/‖W‖. Without a
    `calibration` (`editcore.collapse.calibration.load`), that of the bundled models decides; a
    study's own, from `editcore.collapse.backtest.calibration`, fits its models and editors better.
    """
    from editcore.collapse.predictor import ActivationShift

    known = calibrations.load() if calibration is None else calibration
    return known.forecast(ActivationShift(model, moments or {}).of(delta))
