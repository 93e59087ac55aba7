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
from editcore.report.drawing.style import drawing
from editcore.report.sections import hard_cases, pilot, surrogate, weight_change
from editcore.summary.correlation import write_correlation

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


def test_the_pilot_compares_the_worst_with_unedited_and_guessing(
    with_tasks: ReportData,
) -> None:
    section = pilot.section(with_tasks)
    assert section is not None
    (table,) = section.tables
    assert table.rows == (
        ("small", "words", "acc", "100", "0.90", "0.26", "0.01", "2 models", "1", "0.25"),
    )


def test_the_surrogate_shows_every_model_and_rho(with_tasks: ReportData, tmp_path: Path) -> None:
    section = surrogate.section(with_tasks)
    assert section is not None
    (row,) = section.tables[0].rows
    assert row[:4] == ("small", "words", "acc", "−1.00") and row[-1] == "5"
    drawn = draw_sections([section], tmp_path / "figures")
    assert list(drawn) == ["surrogate-model=small"]
    svg = drawn["surrogate-model=small"].read_text(encoding="utf-8")
    assert "ρ = −1.00, n = 5" in svg
    found = with_tasks.table("downstream", DOWNSTREAM)
    assert found is not None
    figure = surrogate.draw(found, pl.DataFrame(_correlations(with_tasks)), "small")
    counted, others = figure.axes[0].collections
    assert (len(counted.get_offsets()), len(others.get_offsets())) == (5, 1)


def _correlations(study: ReportData) -> list[dict[str, Any]]:
    return pl.read_parquet(study.folder / "correlation.parquet").to_dicts()


def test_hard_cases_are_next_to_mild_ones_with_position_and_length(study: ReportData) -> None:
    section = hard_cases.section(study)
    assert section is not None
    rows = [row for row in section.tables[0].rows if row[:2] == ("small", "alpha")]
    assert [row[4] for row in rows] == ["collapsed"] * 3 + ["stable"] * 3
    assert rows[0][2] == "[Word4] is made by" and rows[0][5] == "∞"
    assert (rows[0][7:], rows[-1][7:]) == (("0", "1"), ("13", "2"))


def test_changed_matrices_share_one_scale_of_colours(
    with_tasks: ReportData, tmp_path: Path
) -> None:
    section = weight_change.section(with_tasks)
    assert section is not None
    assert [drawing.name for drawing in section.drawings] == [
        "change-model=small", "change-model=large", "matrix-model=small",
    ]  # fmt: skip
    figure = weight_change.draw_maps(pl.DataFrame(change_rows("small")), "small")
    pictures = [axes.images[0] for axes in figure.axes if axes.images]
    assert [picture.get_clim() for picture in pictures] == [(0, 12.0)] * 2
    assert pictures[0].get_array().tolist() == [[3.0, 6.0, 9.0], [6.0, 9.0, 12.0]]
    assert len(draw_sections([section], tmp_path / "figures")) == 3


def test_strips_show_all_editors_and_data_sets(study: ReportData) -> None:
    section = pilot.section(study)
    assert section is not None and section.tables == ()
    axes = section.drawings[0].draw().axes[0]
    counts = [len(points.get_offsets()) for points in axes.collections]
    assert sum(counts) == len(study.made(model="small"))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["alpha", "beta"]


def test_a_study_without_tasks_or_collapse_has_fewer_sections(study: ReportData) -> None:
    assert surrogate.section(study) is None
    mild = replace(study, cases=study.cases.with_columns(collapsed=pl.lit(False)))
    assert hard_cases.section(mild) is None


def test_a_task_without_a_correlation_is_drawn_without_it(with_tasks: ReportData) -> None:
    scores = with_tasks.table("downstream", DOWNSTREAM)
    found = with_tasks.table("correlation", CORRELATION)
    assert scores is not None
    assert found is not None
    with drawing():
        with_rho = surrogate.draw(scores, found, "small").axes[0].texts
        without = surrogate.draw(scores, found.clear(), "small").axes[0].texts
    assert len(with_rho) == len(without) + 1
