"""Grades are compared with what the edited models lost in tasks."""

from typing import Any

import polars as pl
import pytest

from editcore.summary.grade_check import compared, falls


def score(task: str, value: float | None, case: int | None = None) -> dict[str, Any]:
    edited = {"editor": "alpha", "dataset": "hard"} if case is not None else {}
    plain = {"model": "small", "editor": None, "dataset": None, "case_id": case, "task": task}
    return plain | edited | {"score": value}


SCORES = pl.DataFrame(
    [
        *(score(task, 0.8) for task in ("cloze", "choices")),
        *(score("cloze", value, case) for case, value in enumerate((0.78, 0.1, 0.8, None, 0.6))),
        *(score("choices", value, case) for case, value in enumerate((0.9, 0.8, 0.75, 0.8, 0.8))),
    ],
    infer_schema_length=None,
)
GRADES = ("sound", "collapsed", "damaged", "damaged", "sound")


@pytest.fixture
def cases() -> pl.DataFrame:
    rows = [
        {"model": "small", "editor": "alpha", "dataset": "hard", "case_id": case, "grade": grade}
        for case, grade in enumerate((*GRADES, None, "collapsed"))
    ]
    return pl.DataFrame(rows)


def test_a_fall_is_the_largest_loss_of_any_task() -> None:
    assert falls(SCORES)["fall"].to_list() == pytest.approx([0.02, 0.7, 0.05, 0.8, 0.2])


def test_grades_and_falls_are_counted_by_model(cases: pl.DataFrame) -> None:
    (row,) = compared(cases, SCORES)
    counts = {name: row[name] for name in ("model", "n", "harmed", "fell", "both")}
    assert counts == {"model": "small", "n": 5, "harmed": 3, "fell": 3, "both": 2}
    assert row["recall"] == row["precision"] == 2 / 3


def test_without_harm_there_is_no_precision(cases: pl.DataFrame) -> None:
    scores = SCORES.filter(pl.col("case_id").ne_missing(4))
    (row,) = compared(cases.filter(grade="sound"), scores)
    assert (row["n"], row["recall"], row["precision"]) == (1, None, None)
