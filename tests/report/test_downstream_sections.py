"""The sections of the report on tasks, hard cases and weight changes."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from editcore.records.mechanism_schemas import WEIGHTS
from editcore.records.schemas import CORRELATION, DOWNSTREAM
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.drawing.figures import draw_sections
from editcore.report.sections import hard_cases, pilot, surrogate, weight_change
from editcore.summary.correlation import write_correlation
from tests.report.conftest import MakeStudy
from tests.rows import edit_row

SCORES = {2.0: 0.9, 4.0: 0.8, 40.0: 0.5, 400.0: 0.3, 4000.0: 0.25}


def score_rows(model: str) -> list[dict[str, Any]]:
    """A model, four edited models over the range, one of the worst, and one that is broken."""
    known = {"model": model, "task": "words", "metric": "acc", "random": 0.25, "n_items": 100}
    rows = []
    for case, (perplexity, score) in enumerate(SCORES.items()):
        edit = {"editor": "alpha", "dataset": "hard", "case_id": case} if case else {}
        chosen = {"spread": case > 0, "top": case > 3, "status": "ok"}
        rows.append(known | edit | chosen | {"perplexity": perplexity, "score": score})
    last = rows[-1] | {"spread": False}
    broken = {"case_id": 11, "perplexity": math.inf, "score": None, "status": "nonfinite"}
    return [*rows, last | {"case_id": 10, "score": 0.27}, last | broken]


def change_rows(model: str) -> list[dict[str, Any]]:
    """Matrices of 2 x 3 blocks of a collapsed and a stable edit."""
    return [
        {
            "model": model,
            "editor": "alpha",
            "dataset": "hard",
            "case_id": case,
            "parameter": "down.weight",
            "row": row,
            "column": column,
            "change": size * (1 + row + column),
            "d_out": 20,
            "d_in": 60,
            "collapsed": case == 1,
            "perplexity": perplexity,
        }
        for case, size, perplexity in ((1, 3.0, 4000.0), (2, 0.1, 4.1))
        for row in range(2)
        for column in range(3)
    ]


@pytest.fixture
def with_tasks(study: ReportData, tmp_path: Path) -> ReportData:
    """The synthetic study, with tasks for one of its models."""
    write_table(tmp_path / "scores", score_rows("small"), DOWNSTREAM, {})
    write_table(tmp_path / "weight_change.parquet", change_rows("small"), WEIGHTS, {})
    write_correlation([tmp_path / "scores"], tmp_path, 50, 0)
    return replace(study, folder=tmp_path)


def test_the_table_compares_the_worst_with_unedited_and_guessing_and_has_rho(
    with_tasks: ReportData,
) -> None:
    section = surrogate.section(with_tasks)
    assert section is not None
    (row,) = section.tables[0].rows
    assert row[:6] == ("small", "words", "acc", "100", "0.25", "0.90")
    assert row[6:10] == ("0.26", "0.01", "2", "1"), "the worst models"
    assert row[10] == "−1.00" and row[-1] == "5"
    assert section.point == (
        "The higher its perplexity, the lower an edited model’s scores in tasks: Spearman’s ρ is "
        "−1.00 over 1 task of small."
    )


def test_the_figure_shows_what_is_left_of_each_score_above_guessing(
    with_tasks: ReportData, tmp_path: Path
) -> None:
    section = surrogate.section(with_tasks)
    assert section is not None
    assert list(draw_sections([section], tmp_path / "figures")) == ["surrogate"]
    scores = with_tasks.table("downstream", DOWNSTREAM)
    assert scores is not None
    figure = surrogate.draw(with_tasks, scores)
    counted, others = figure.axes[0].collections
    heights = sorted(float(y) for _, y in counted.get_offsets())
    assert heights[0] == pytest.approx(0.0) and heights[-1] == pytest.approx(1.0)
    assert (len(heights), len(others.get_offsets())) == (5, 1)


@pytest.mark.parametrize(
    ("rho", "point"),
    [
        (None, "Too few edited models have scores in tasks to relate them to perplexity."),
        (
            0.5,
            "Scores in tasks do not always fall as perplexity rises: Spearman’s ρ is 0.50 over 1 "
            "task of small.",
        ),
    ],
)
def test_the_point_on_tasks_depends_on_rho(
    study: ReportData, rho: float | None, point: str
) -> None:
    found = pl.DataFrame(
        {"model": ["small"], "rho": [rho]}, {"model": pl.String, "rho": pl.Float64}
    )
    assert surrogate.point(study, found) == point


def test_subjects_of_hard_cases_are_next_to_those_of_the_others(study: ReportData) -> None:
    section = hard_cases.section(study)
    assert section is not None
    rows = [row for row in section.tables[0].rows if row[:2] == ("small", "alpha")]
    assert [row[2:] for row in rows] == [
        ("collapsed", "10", "100 %", "100 %", "1"),
        ("not collapsed", "40", "25 %", "25 %", "1.75"),
    ]
    assert section.point == (
        "The subject opens the prompt in 100 % of 20 edits that collapsed a model, and in 33.3 % "
        "of others."
    )


def test_the_size_of_a_change_is_relative_to_the_weights(
    study: ReportData, make_study: MakeStudy
) -> None:
    section = weight_change.section(study)
    assert section is not None
    assert section.point == (
        "Relative to the weights, the median size of a change that collapsed the model is 0.0375 "
        "on small (other edits: 0.0375) and 0.0375 on large (other edits: 0.0375)."
    )
    whole = weight_change.section(make_study([edit_row(1)]))
    assert whole is not None
    assert whole.point == (
        "No weight change collapsed a model; relative to the weights, the median size of a change "
        "is 0.0375 on small."
    )
    assert weight_change.section(make_study([edit_row(1, delta_norm=None)])) is None


def test_changed_matrices_of_a_model_share_one_scale_of_colours(
    with_tasks: ReportData, tmp_path: Path
) -> None:
    section = weight_change.section(with_tasks)
    assert section is not None
    assert list(draw_sections([section], tmp_path / "figures")) == ["change", "matrices"]
    figure = weight_change.draw_maps(with_tasks, pl.DataFrame(change_rows("small")))
    pictures = [axes.images[0] for axes in figure.axes if axes.images]
    assert [picture.get_clim() for picture in pictures] == [(0, 12.0)] * 2
    assert pictures[0].get_array().tolist() == [[3.0, 6.0, 9.0], [6.0, 9.0, 12.0]]


def test_a_matrix_without_one_to_compare_it_with_is_drawn_alone(study: ReportData) -> None:
    one = pl.DataFrame(change_rows("large")).filter(pl.col("collapsed"))
    figure = weight_change.draw_maps(study, one)
    assert sum(bool(axes.images) for axes in figure.axes if axes.get_visible()) == 1


def test_strips_show_all_editors_and_data_sets_of_every_model(study: ReportData) -> None:
    section = pilot.section(study)
    assert section is not None and section.tables == ()
    first, second = section.drawings[0].draw().axes
    counts = [len(points.get_offsets()) for points in first.collections]
    assert sum(counts) == len(study.made(model="small"))
    assert [label.get_text() for label in first.get_yticklabels()] == ["alpha", "beta"]
    assert first.get_xlim() == second.get_xlim()
    assert section.point.endswith("least often with alpha (62 %), most often with beta (100 %).")


def test_a_study_without_tasks_or_collapse_has_fewer_sections(study: ReportData) -> None:
    assert surrogate.section(study) is None
    mild = replace(study, cases=study.cases.with_columns(collapsed=pl.lit(False)))
    assert hard_cases.section(mild) is None


def test_a_task_without_a_correlation_has_empty_cells(with_tasks: ReportData) -> None:
    scores = with_tasks.table("downstream", DOWNSTREAM)
    found = with_tasks.table("correlation", CORRELATION)
    assert scores is not None
    assert found is not None
    (row,) = surrogate.table(scores, found.clear()).rows
    assert row[-4:] == ("–",) * 4
