"""The section on sequential edits shows and draws the rows of sequences."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing
from editcore.report.sections.sequences import section as sequences

BASE = 4.0


def grade(ratio: float) -> str:
    """The grade of a model whose divergence rises with its perplexity."""
    return "collapsed" if ratio > 10 else "damaged" if ratio > 1.2 else "sound"


def sequence(
    editor: str, heights: list[float | None], order: int = 0, **changes: Any
) -> list[dict[str, Any]]:
    """A sequence of the model `small` on hard cases with the perplexities `heights`."""
    rows: list[dict[str, Any]] = [
        {
            "model": "small",
            "editor": editor,
            "dataset": "hard",
            "batch": 1,
            "order": order,
            "arrangement": "drawn",
            "step": step,
            "edits": step,
            "status": "ok",
            "made": step > 0,
            "perplexity": height,
            "perplexity_base": BASE,
            "perplexity_ratio": None if height is None else height / BASE,
            "collapsed": None if height is None else height > 10 * BASE,
            "grade": None if height is None else grade(height / BASE),
            "efficacy_so_far": 0.25 if step == len(heights) - 1 else None,
        }
        for step, height in enumerate(heights)
    ]
    rows[-1] |= changes
    return rows


@pytest.fixture
def with_sequences(study: ReportData, tmp_path: Path) -> Any:
    """`with_sequences(rows) -> ReportData` with these rows as its sequences."""

    def make(rows: list[dict[str, Any]]) -> ReportData:
        write_table(tmp_path / "sequences.parquet", rows, SEQUENCES_JUDGED, {})
        return replace(study, folder=tmp_path)

    return make


def test_a_study_without_sequences_has_no_such_section(study: ReportData) -> None:
    assert sequences.section(study) is None


def test_the_table_shows_where_sequences_end(with_sequences: Any) -> None:
    rows = sequence("alpha", [4.0, 5.0, 80.0], status="stopped")
    rows += sequence("beta", [4.0, None, 4.4]) + sequence("gamma", [4.0, 50.0])
    section = sequences.section(with_sequences(rows))
    (table,) = section.tables
    cells = [dict(zip(table.heads, row, strict=True)) for row in table.rows]
    shown = ("editor", "damaged after", "collapsed after", "stopped")
    assert [tuple(c[name] for name in shown) for c in cells] == [
        ("alpha", "1", "2", "1"),
        ("beta", "–", "–", "0"),
        ("gamma", "1", "1", "0"),
    ]
    assert (cells[0]["ratio"], cells[1]["perplexity"], cells[1]["efficacy"]) == (
        "×20", "4.40", "0.25",
    )  # fmt: skip


def scored(rows: list[dict[str, Any]], *scores: float | None) -> list[dict[str, Any]]:
    """The rows with a task's scores at the first step and the last."""
    for row, score in zip((rows[0], rows[-1]), scores, strict=True):
        row |= {"score_words": score, "random_words": 0.25}
    return rows


def test_task_scores_are_shown_before_and_after(with_sequences: Any) -> None:
    rows = scored(sequence("alpha", [4.0, None, 80.0]), 0.9, 0.5)
    rows += scored(sequence("alpha", [4.0, None, 90.0], order=1), 0.9, 0.2)
    rows += scored(sequence("beta", [4.0, math.inf]), 0.9, None) + sequence("gamma", [4.0, 4.1])
    section = sequences.section(with_sequences(rows))
    (table,) = section.tables
    assert table.heads[-3:] == ("stopped", "words, before", "words, after")
    assert [(row[1], *row[-2:]) for row in table.rows] == [
        ("alpha", "0.90", "0.35"),
        ("beta", "0.90", "–"),
        ("gamma", "–", "–"),
    ]
    assert "0.25 in words" in section.paragraphs[-1]
    _, figure = section.drawings
    with drawing():
        (axes,) = figure.draw().axes
    guess, alpha, beta = axes.lines
    assert list(guess.get_ydata()) == [0.25, 0.25]
    assert (list(alpha.get_xdata()), list(alpha.get_ydata())) == ([0, 2], [0.9, 0.35])
    assert list(beta.get_ydata()) == [0.9], "a model that is not finite has no score"
    assert len(axes.collections) == 1, "seeds are a band"


def test_failed_steps_are_counted(with_sequences: Any) -> None:
    rows = sequence("alpha", [4.0, 4.0], made=False, status="no such fact")
    (table,) = sequences.section(with_sequences(rows)).tables
    assert table.rows[0][table.heads.index("failed")] == "1"


def test_each_editor_is_a_line_and_seeds_are_a_band(with_sequences: Any) -> None:
    rows = sequence("alpha", [4.0, None, 8.0]) + sequence("alpha", [4.0, None, 32.0], order=1)
    rows += sequence("beta", [4.0, 4.1, math.inf])
    (grid,) = sequences.section(with_sequences(rows)).drawings
    with drawing():
        (axes,) = grid.draw().axes
    alpha, beta = (
        line for line in axes.lines if len(line.get_xdata()) > 2 or line.get_marker() == "^"
    )
    assert list(alpha.get_xdata()) == [0, 2]
    assert list(alpha.get_ydata()) == pytest.approx([4.0, 16.0])
    assert list(beta.get_xdata()) == [0, 1, 2]
    assert beta.get_ydata()[2] > 80, "infinity has a place of its own"
    assert len(axes.collections) == 1


def long_sequence(editor: str, order: int, growth: float) -> list[dict[str, Any]]:
    """60 edits, measured with telemetry; the facts were asked after 30 and 60."""
    heights = [min(BASE * math.exp(growth * step), 1e6) for step in range(61)]
    rows: list[dict[str, Any]] = sequence(editor, [*heights], order)
    for row in rows[1:]:
        row |= {"weight_change": growth * row["edits"] + 0.01, "top1_kept": 0.9, "kl_mean": 0.1}
    for row in (rows[30], rows[60]):
        row["efficacy_by_fact"] = json.dumps([None, *[1.0] * (row["edits"] - 11), *[0.5] * 10])
    return rows


def test_survival_telemetry_and_what_foretells_are_shown(with_sequences: Any) -> None:
    rows = [
        row
        for editor, growth in {"alpha": 0.1, "beta": 0.06, "gamma": 0.001}.items()
        for order in (0, 1)
        for row in long_sequence(editor, order, growth + 0.001 * order)
    ]
    page = sequences.section(with_sequences(rows))
    by_name = {each.name: each for each in page.drawings}
    assert list(by_name) == [
        "sequences",
        "sequences-survival",
        "sequences-telemetry-model=small",
    ]
    with drawing():
        (curves,) = by_name["sequences-survival"].draw().axes
        (panel, *_) = by_name["sequences-telemetry-model=small"].draw().axes
    # Ten newest facts at one half, the others at one; at both checks and for both seeds alike.
    line = next(line for line in curves.lines if len(line.get_xdata()) > 4)
    assert list(line.get_ydata())[:3] == pytest.approx([0.5, 0.5, 0.5])
    assert line.get_ydata()[-1] == pytest.approx(1.0)
    assert panel.get_title(loc="left") == "weight_change"
    assert panel.get_xlabel() == "edits so far"
    assert panel.get_xscale() == "log"
    assert {line.get_marker() for line in panel.lines} >= {"o", "x"}
    foretold = page.tables[-1]
    assert foretold.heads[0] == "what is foretold"
    best = next(row for row in foretold.rows if row[:2] == ("collapse", "each editor"))
    assert best[3:5] == ("6", "4")
    assert any("Survival" in words for words in page.paragraphs)


def test_many_editors_have_a_panel_each(with_sequences: Any) -> None:
    names = [f"editor-{i}" for i in range(7)]
    rows = [row for name in names for row in sequence(name, [4.0, 8.0, 64.0])]
    page = sequences.section(with_sequences(rows))
    assert [each.name for each in page.drawings] == [
        "sequences",
        "sequences-perplexity-model=small",
    ]
    with drawing():
        panels = page.drawings[1].draw().axes
    assert [axes.get_title(loc="left") for axes in panels[:7]] == names
    assert [axes.get_visible() for axes in panels] == [True] * 7 + [False] * 2
    crosses = [line for line in panels[0].lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[2]]


def test_arrangements_are_told_apart(with_sequences: Any) -> None:
    rows = sequence("alpha", [4.0, 8.0])
    rows += [row | {"arrangement": "clustered"} for row in sequence("alpha", [4.0, 16.0])]
    page = sequences.section(with_sequences(rows))
    assert [row[2] for row in page.tables[0].rows] == ["hard", "hard, clustered"]
    with drawing():
        titles = [axes.get_title(loc="left") for axes in page.drawings[0].draw().axes]
    assert titles == ["small, hard, drawn", "small, hard, clustered"]
