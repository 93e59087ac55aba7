"""Axes include every value that they are made for, with few ticks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editcore.report.drawing.logaxis import MOST_TICKS, log_scale

positive = st.floats(1e-6, 1e30)


@given(st.lists(positive | st.just(math.inf), min_size=1))
def test_every_value_has_a_place_inside_and_infinity_is_highest(values: list[float]) -> None:
    scale = log_scale(values)
    places = [scale.place(value) for value in values]
    assert all(scale.low < place < scale.high for place in places)
    finite = [value for value in values if value < math.inf]
    if finite and len(finite) < len(values):
        assert scale.place(math.inf) > max(finite)


@given(st.lists(positive, min_size=1))
def test_ticks_are_few_inside_and_rising(values: list[float]) -> None:
    scale = log_scale(values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= MOST_TICKS + 2
    assert ticks == sorted(set(ticks))
    assert all(scale.low <= tick <= scale.high for tick in ticks)


@pytest.mark.parametrize("values", [[], [math.inf], [0.0]])
def test_nothing_to_scale_still_gives_an_axis(values: list[float]) -> None:
    scale = log_scale(values)
    assert 0 < scale.low < scale.high < math.inf
