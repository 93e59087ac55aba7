"""The table of predictors: fitted on one half, tested on the other and on other models."""

from pathlib import Path

import polars as pl
import pytest

from editcore.collapse.backtest import ALL, PREDICTORS, calibration, evaluate, in_first_half
from editcore.errors import DataError
from editcore.records.schemas import WARNING
from editcore.records.tables import write_table
from tests.rows import edit_row, failed_row, judged_rows, study_rows


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return evaluate(judged_rows(study_rows()))


def row(table: pl.DataFrame, tested_on: str, editor: str, predictor: str = "warning") -> dict:
    found = table.filter(
        calibrated_on="small", tested_on=tested_on, editor=editor, predictor=predictor
    )
    return found.row(0, named=True)


def test_every_predictor_is_tested_on_the_other_half_and_on_the_other_model(table) -> None:
    assert set(table["predictor"]) == set(PREDICTORS)
    assert set(table["editor"]) == {ALL, "alpha", "beta"}
    own, other = row(table, "small", "alpha"), row(table, "large", "alpha")
    assert own["n"] + own["n_calibrated"] == 100
    assert own["n_collapsed"] + own["n_calibrated_collapsed"] == 20
    assert (other["n"], other["n_collapsed"]) == (100, 20)
    assert own["threshold"] == other["threshold"]


def test_a_predictor_that_separates_collapses_has_area_one(table) -> None:
    for predictor in ("warning", "denominator"):
        found = row(table, "small", "alpha", predictor)
        assert (found["auc"], found["precision"]) == (1, 1)
    assert row(table, "small", "alpha", "subject_position")["auc"] < 1


def test_an_editor_that_never_collapses_has_nothing_to_calibrate_on(table) -> None:
    found = row(table, "small", "beta")
    assert (found["n_collapsed"], found["auc"], found["threshold"]) == (0, None, None)


def test_halves_are_drawn_by_case_alone() -> None:
    drawn = [in_first_half(0, "hard", case) for case in range(1000)]
    assert 430 < sum(drawn) < 570
    assert drawn != [in_first_half(1, "hard", case) for case in range(1000)]


def test_edits_without_a_quantity_do_not_count(tmp_path: Path) -> None:
    rows = [edit_row(case, 400.0 if case % 2 else 4.0, 0.1) for case in range(40)]
    bare = [edit_row(case, denominator=None) for case in range(100, 110)]
    edits = judged_rows([*rows, *bare, failed_row(99)])
    found = evaluate(edits).filter(predictor="denominator").row(0, named=True)
    assert found["n"] + found["n_calibrated"] == 40


def test_a_study_s_file_calibrates_the_warning(table, tmp_path: Path) -> None:
    path = tmp_path / "warning.parquet"
    write_table(path, table, WARNING, {})
    found = calibration(path, "small", "alpha")
    assert found.threshold == row(table, "small", "alpha")["threshold"]
    with pytest.raises(DataError, match="contains no calibration for 'small'"):
        calibration(path, "small", "beta")
