"""The verdicts and the grade, at and around their thresholds."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editcore.collapse.verdict import VERDICT_COLUMNS, judge, judged
from editcore.config.collapse import CollapseSection, replaced
from editcore.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("perplexity", "by_perplexity", "by_ratio"),
    [(1000.0, False, True), (1000.1, True, True), (20.0, False, False), (20.1, False, True)],
)
def test_thresholds_are_exceeded_not_reached(perplexity, by_perplexity, by_ratio) -> None:
    verdict = judge(perplexity, 2.0, CollapseSection())
    assert verdict.collapsed_perplexity is by_perplexity
    assert verdict.collapsed_ratio is by_ratio


@pytest.mark.parametrize("rule", ["ratio", "perplexity"])
def test_the_config_sets_which_decides_and_infinity_is_a_collapse_by_both(rule) -> None:
    spec = CollapseSection(verdict=rule)
    assert judge(100.0, 2.0, spec).collapsed is (rule == "ratio")
    assert judge(math.inf, 2.0, spec).collapsed
    assert judge(math.inf, 2.0, spec).collapsed_perplexity


@pytest.mark.parametrize(
    ("perplexity", "kept", "grade"),
    [
        (20.0, 0.5, "sound"),
        (20.0, 0.4999, "damaged"),
        (20.0, 0.0, "damaged"),
        (20.1, 1.0, "collapsed"),
        (math.inf, 0.0, "collapsed"),
        (20.1, None, "collapsed"),
        (20.0, None, None),
    ],
)
def test_the_grade_is_collapsed_or_else_follows_the_predictions(perplexity, kept, grade) -> None:
    assert judge(perplexity, 2.0, CollapseSection(damage=0.5), kept).grade == grade


perplexities = st.none() | st.floats(min_value=1.0) | st.just(math.inf)


@given(
    st.lists(st.tuples(perplexities, st.floats(1.0, 1e6), st.none() | st.floats(0.0, 1.0))),
    st.sampled_from(["ratio", "perplexity"]),
)
def test_rows_are_judged_as_each_measurement_is(measured, rule) -> None:
    spec = CollapseSection(verdict=rule, ratio=3.0, perplexity=90.0)
    schema = dict.fromkeys(("perplexity", "perplexity_base", "top1_kept"), pl.Float64)
    rows = judged(pl.DataFrame(measured, schema=schema, orient="row"), spec)
    for (perplexity, unedited, kept), found in zip(
        measured, rows.select(VERDICT_COLUMNS).rows(), strict=True
    ):
        if perplexity is None:
            assert found == (None, None, None, None)
        else:
            verdict = judge(perplexity, unedited, spec, kept)
            assert found == tuple(vars(verdict).values())
            assert verdict.collapsed is not (perplexity <= spec.limit(unedited))


def test_rows_without_predictions_have_no_grade_unless_they_collapsed() -> None:
    rows = pl.DataFrame({"perplexity": [3.0, 40.0], "perplexity_base": [2.0, 2.0]})
    assert judged(rows, CollapseSection())["grade"].to_list() == [None, "collapsed"]


def test_thresholds_are_replaced_and_checked() -> None:
    assert replaced(CollapseSection(), {"ratio": 3}) == CollapseSection(ratio=3.0)
    with pytest.raises(ConfigError, match="these thresholds: ratio"):
        replaced(CollapseSection(), {"ratio": -1.0})


def test_a_row_that_lacks_the_unedited_model_s_perplexity_is_refused() -> None:
    rows = pl.DataFrame({"perplexity": [3.0, None, 4.0], "perplexity_base": [2.0, None, None]})
    with pytest.raises(DataError, match="null in 1 rows with a perplexity"):
        judged(rows, CollapseSection())
