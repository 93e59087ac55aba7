"""The table of predictors: fitted on one half, tested on the other and on other models."""

import polars as pl
import pytest

from editcore.collapse.backtest import (
    ALL,
    FORECASTS,
    OTHERS,
    PREDICTORS,
    TARGETS,
    evaluate,
    forecaster,
    in_first_half,
)
from editcore.config.collapse import CollapseSection
from tests.rows import edit_row, failed_row, judged_rows, study_rows

RULE = CollapseSection()


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return evaluate(judged_rows(study_rows()), RULE)


def row(
    table: pl.DataFrame,
    tested_on: str,
    editor: str,
    predictor: str = "warning",
    target: str = "collapsed",
    calibrated_on: str = "small",
) -> dict:
    found = table.filter(
        calibrated_on=calibrated_on,
        tested_on=tested_on,
        editor=editor,
        predictor=predictor,
        target=target,
    )
    return found.row(0, named=True)


def test_every_predictor_is_tested_on_the_other_half_and_on_the_other_model(table) -> None:
    assert set(table["predictor"]) == set(PREDICTORS)
    assert set(table["target"]) == set(TARGETS)
    assert set(table["editor"]) == {ALL, "alpha", "beta"}
    own, other = row(table, "small", "alpha"), row(table, "large", "alpha")
    assert own["n"] + own["n_calibrated"] == 100
    assert own["n_hits"] + own["n_calibrated_hits"] == 20
    assert (other["n"], other["n_hits"]) == (100, 20)
    assert own["threshold"] == other["threshold"]


def test_a_predictor_that_separates_collapses_has_area_one(table) -> None:
    for predictor in ("warning", "denominator"):
        found = row(table, "small", "alpha", predictor)
        assert (found["auc"], found["precision"]) == (1, 1)
    assert row(table, "small", "alpha", "subject_position")["auc"] < 1


def test_an_editor_that_never_collapses_has_nothing_to_calibrate_on(table) -> None:
    found = row(table, "small", "beta")
    assert (found["n_hits"], found["auc"], found["threshold"]) == (0, None, None)


def test_halves_are_drawn_by_case_alone() -> None:
    drawn = [in_first_half(0, "hard", case) for case in range(1000)]
    assert 430 < sum(drawn) < 570
    assert drawn != [in_first_half(1, "hard", case) for case in range(1000)]


def test_edits_without_a_quantity_do_not_count() -> None:
    rows = [edit_row(case, 400.0 if case % 2 else 4.0, 0.1) for case in range(40)]
    bare = [edit_row(case, denominator=None) for case in range(100, 110)]
    edits = judged_rows([*rows, *bare, failed_row(99)])
    table = evaluate(edits, RULE)
    found = row(table, "small", "alpha", "denominator")
    assert found["n"] + found["n_calibrated"] == 40


def test_the_model_that_is_tested_on_is_left_out(table) -> None:
    """What it is fitted on is all editors' edits of the other one, and nothing else."""
    left_out = row(table, "small", "alpha", FORECASTS["collapsed"], calibrated_on=OTHERS)
    assert (left_out["n"], left_out["n_calibrated"]) == (100, 200)
    edits = judged_rows(study_rows()).filter(model="large")
    alone = forecaster(edits, RULE, {"large": "large"}, "these").collapsed
    assert left_out["threshold"] == alone.threshold


def test_a_model_is_left_out_under_all_its_labels() -> None:
    edits = judged_rows(study_rows())
    again = edits.filter(model="small").with_columns(model=pl.lit("small, layer 3"))
    pooled = pl.concat([edits, again])
    found = evaluate(pooled, RULE, aliases={"small, layer 3": "small"})
    assert row(found, "small", "alpha", calibrated_on=OTHERS)["n_calibrated"] == 200
    assert row(found, "large", "alpha", calibrated_on=OTHERS)["n_calibrated"] == 400


def test_damage_counts_as_harm_and_an_unknown_grade_as_nothing() -> None:
    rows = [edit_row(case, 4.1, 4.0 if case % 3 else 0.1) for case in range(60)]
    edits = judged_rows(rows).with_columns(
        grade=pl.when(pl.col("case_id") >= 50)
        .then(None)
        .when(pl.col("case_id") % 3 == 0)
        .then(pl.lit("damaged"))
        .otherwise(pl.lit("sound"))
    )
    found = forecaster(edits, RULE, {"small": "small"}, "these")
    assert found.collapsed is None
    assert found.prompt.edits == 50
    assert found.from_prompt(2.0, "small").harm
    assert not found.from_prompt(0.05, "small").harm
    assert (found.harmed.edits, found.harmed.hits) == (50, 17)
    assert (found.harmed.recall, found.harmed.precision) == (1.0, 1.0)
    assert found.forecast(1.0, None, "small").harm
    assert not found.forecast(0.1 / 4.0, None, "small").harm


def test_harm_is_expected_from_the_limit_of_the_grade_on() -> None:
    table = evaluate(judged_rows(study_rows()), CollapseSection(damage=0.3))
    rows = table.filter(predictor="sample_changed", target="harmed").drop_nulls("threshold")
    assert set(rows["threshold"]) == {0.3}
    fitted = table.filter(predictor="sample_changed", target="collapsed").drop_nulls("threshold")
    assert 0.3 not in set(fitted["threshold"])


def test_false_alarms_are_a_share_of_the_edits_without_the_target() -> None:
    fit_on = [
        edit_row(case, 4000.0 if case % 2 else 4.0, 0.1 if case % 2 else 4.0) for case in range(20)
    ]
    bad = [edit_row(case, 4000.0, 0.1, model="large") for case in range(4)]
    good = [edit_row(10 + case, 4.0, 0.1 if case == 0 else 4.0, model="large") for case in range(5)]
    table = evaluate(judged_rows([*fit_on, *bad, *good]), RULE)
    found = table.filter(
        calibrated_on=OTHERS, tested_on="large", predictor="warning", target="collapsed"
    ).row(0, named=True)
    assert (found["recall"], found["precision"]) == (1.0, 0.8)
    assert (found["false_alarms"], found["recall_collapsed"]) == (0.2, 1.0)
