"""Compares the disturbance by an edit with that by rounding the same model's weights."""

import math
from collections.abc import Mapping

import polars as pl

from editcore.numbers import number

Scale = Mapping[int, float]
"""The mean divergence after rounding, by the number of bits."""


def scale_of(rows: pl.DataFrame) -> dict[int, float]:
    """The scale of one model, from its rows of `ROUNDING`.

    Without what was not measured, and without bits that the weights are stored in already, so that
    rounding changes nothing.
    """
    return dict(rows.filter(pl.col("kl_mean") > 0).select("bits", "kl_mean").rows())


def in_words(divergence: float, scale: Scale) -> str:
    """How much a model is disturbed, to follow words such as "the edit disturbs the model".

    Empty if the divergence is not finite, or there is no scale.

    >>> scale = {8: 1.0, 4: 4.0}
    >>> in_words(0.5, scale)
    'less than rounding its weights to 8 bits'
    >>> in_words(2.0, scale)
    '2 times as much as rounding its weights to 8 bits, and 0.500 times as much as to 4 bits'
    >>> in_words(48.0, scale)
    '12 times as much as rounding its weights to 4 bits'
    """
    if not scale or not math.isfinite(divergence):
        return ""
    fine, coarse = max(scale), min(scale)
    if divergence <= scale[fine]:
        return f"less than rounding its weights to {fine} bits"
    by_coarse = f"{number(divergence / scale[coarse])} times as much as"
    if fine == coarse or divergence > scale[coarse]:
        return f"{by_coarse} rounding its weights to {coarse} bits"
    by_fine = f"{number(divergence / scale[fine])} times as much as"
    return f"{by_fine} rounding its weights to {fine} bits, and {by_coarse} to {coarse} bits"
