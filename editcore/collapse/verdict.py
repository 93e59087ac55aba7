"""Grades an edited model as sound, damaged or collapsed, and warns before it is edited."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from editcore.collapse import forecast as forecasts
from editcore.collapse.forecast import Forecast, Forecaster
from editcore.config.collapse import CollapseSection, Harm
from editcore.errors import DataError

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel
    from editcore.updates.change import Change


Grade = Literal["sound", "damaged", "collapsed"]
SOUND, DAMAGED, COLLAPSED = GRADES = get_args(Grade)
HARMFUL: Mapping[Harm, tuple[Grade, ...]] = MappingProxyType(
    {"damage": (DAMAGED, COLLAPSED), "collapse": (COLLAPSED,)}
)


@dataclass(frozen=True)
class Verdict:
    """The verdicts on a collapse by both thresholds, the one that the rule selects, and the grade.

    `grade` is None if the model has not collapsed and `top1_kept` is not known.
    """

    collapsed: bool
    collapsed_perplexity: bool
    collapsed_ratio: bool
    grade: Grade | None


VERDICT_COLUMNS = tuple(field.name for field in fields(Verdict))
FLAGS = tuple(name for name in VERDICT_COLUMNS if name != "grade")


def judge(
    perplexity: float, unedited: float, rule: CollapseSection, top1_kept: float | None = None
) -> Verdict:
    """The verdict on a perplexity and a share of unchanged predictions, None if not measured.

    A perplexity that is not finite is a collapse by either threshold.

    >>> judge(2000.0, 500.0, CollapseSection(damage=0.5), top1_kept=0.9)
    Verdict(collapsed=False, collapsed_perplexity=True, collapsed_ratio=False, grade='sound')
    """
    limits = rule.limits(unedited)
    above = {
        name: not math.isfinite(perplexity) or perplexity > limit for name, limit in limits.items()
    }
    collapsed = above[rule.verdict]
    grade = _grade(rule, top1_kept, collapsed=collapsed)
    return Verdict(collapsed, above["perplexity"], above["ratio"], grade)


def _grade(rule: CollapseSection, top1_kept: float | None, *, collapsed: bool) -> Grade | None:
    if collapsed:
        return "collapsed"
    if top1_kept is None:
        return None
    return "damaged" if 1 - top1_kept > rule.damage else "sound"


def judged(rows: pl.DataFrame, rule: CollapseSection) -> pl.DataFrame:
    """Measured rows with the columns of `Verdict`; null if no perplexity was measured.

    The columns `perplexity`, `perplexity_base` and, if there is one, `top1_kept` are read. Raises
    `DataError` for a row with the first and without the second.
    """
    lacking = rows.filter(pl.col("perplexity").is_not_null(), pl.col("perplexity_base").is_null())
    if len(lacking):
        raise DataError(
            f"perplexity_base is null in {len(lacking)} rows with a perplexity, so their collapse "
            "cannot be judged; delete the table that they come from and run its job again"
        )
    if "top1_kept" not in rows.columns:
        rows = rows.with_columns(top1_kept=pl.lit(None, pl.Float64))
    measured = rows.select("perplexity", "perplexity_base", "top1_kept").iter_rows()
    verdicts = [
        None if perplexity is None else judge(perplexity, unedited, rule, top1_kept)
        for perplexity, unedited, top1_kept in measured
    ]
    columns: dict[str, list[Any]] = {
        name: [verdict and getattr(verdict, name) for verdict in verdicts]
        for name in VERDICT_COLUMNS
    }
    types = {**dict.fromkeys(FLAGS, pl.Boolean), "grade": pl.String}
    return rows.with_columns(pl.Series(n, c, dtype=types[n]) for n, c in columns.items())


def warn(
    model: "LoadedModel",
    change: "Change",
    texts: Sequence[str],
    forecaster: Forecaster | None = None,
) -> Forecast:
    """A prediction, before any weight is changed for good, of whether an edit will harm a model.

    It is based on what the edit does to a sample of text, the first 1,024 tokens of `texts`:
    how many of the likeliest next tokens change, and by how much perplexity rises; they are the
    columns `sample_changed` and `sample_ratio` of the edit rows. The default `forecaster` is the
    one that editcore provides (`editcore.collapse.forecast.load`); another may have been fitted on
    the model itself, or on your own studies.
    """
    from editcore.collapse.sample import Sample

    known = forecasts.load() if forecaster is None else forecaster
    (effect,) = Sample.of_texts(model, texts).effects([change])
    return known.forecast(effect.changed, effect.ratio, model.name)
