"""What edited models answer, next to what teacher forcing says."""

from pathlib import Path
from typing import Any

import pytest

from editcore.records.answer_schemas import ANSWERS, ANSWERS_SUMMARY
from editcore.records.schemas import DOWNSTREAM
from editcore.records.tables import read_table, write_table
from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing
from editcore.report.sections import answers
from editcore.summary.answers import examples, scores
from refresh.answers import FIGURE, GAP, PAGE, cost, write
from tests.report.conftest import MakeStudy
from tests.rows import edit_row


def answer(case: int, said: str, context: str = "bare", **changes: Any) -> dict[str, Any]:
    """One answer on a fact whose new object is Osdor."""
    right = float(said == "Osdor")
    within = float("Osdor" in said)
    return {
        "model": "small",
        "editor": "alpha",
        "dataset": "hard",
        "case_id": case,
        "measure": "efficacy",
        "context": context,
        "number": 0,
        "kind": None,
        "prompt": f"Word{case} is made by",
        "question": f"Word{case} is made by",
        "accepted": ["Osdor"],
        "answer_base": "Elro",
        "answer": said,
        "exact_match_base": 0.0,
        "exact_match": right,
        "f1_base": 0.0,
        "f1": right,
        "contains_base": 0.0,
        "contains": within,
        "unchanged": said == "Elro",
        "seconds": 0.5,
    } | changes


@pytest.fixture
def asked(make_study: MakeStudy) -> ReportData:
    """Four edits that teacher forcing takes for right; one is when asked, one within a text."""
    said = ["Osdor", "Osdor, or Elro", "Elro", ""]
    rows = [answer(case, text) for case, text in enumerate(said)]
    rows += [answer(case, "Elro", "instruction") for case in range(4)]
    rows += [
        answer(case, text, measure="locality", accepted=["Elro"]) for case, text in enumerate(said)
    ]
    study = make_study([edit_row(case, efficacy=1.0, locality=0.5) for case in range(4)])
    write_table(study.folder / "all.parquet", rows, ANSWERS, {})
    table = read_table(study.folder / "all.parquet", ANSWERS)
    write_table(study.folder / "answers.parquet", scores(table), ANSWERS_SUMMARY, {})
    write_table(study.folder / "answers-examples.parquet", examples(table), ANSWERS, {})
    return study


def test_the_page_shows_the_gap_and_where_it_is(asked: ReportData) -> None:
    section = answers.section(asked)
    assert section is not None
    assert section.point == (
        "Edits that give the new object: on small, 100 % under teacher forcing and 0 % asked "
        "freely after an instruction."
    )
    numbers, shown = section.tables
    assert numbers.rows == (
        ("small", "alpha", "hard", "efficacy", "4", "1.00", "0.25", "0.50", "0.00", "0.00"),
        ("small", "alpha", "hard", "locality", "4", "0.50", "0.25", "–", "–", "–"),
    )
    # Each fact once, in the context in which it disagrees with teacher forcing.
    assert [row[2:] for row in shown.rows] == [
        ("Word0 is made by", "after an instruction", "Osdor", "Elro", "Elro", "1.00"),
        ("Word1 is made by", "after an instruction", "Osdor", "Elro", "Elro", "1.00"),
        ("Word2 is made by", "after the bare prompt", "Osdor", "Elro", "Elro", "1.00"),
    ]


def test_the_figure_has_a_line_for_each_editor(asked: ReportData) -> None:
    section = answers.section(asked)
    assert section is not None
    ((_, _, draw),) = [(d.name, d.words, d.draw) for d in section.drawings]
    with drawing():
        figure = draw()
    (axes,) = figure.axes
    places = sorted(
        float(x) for points in axes.collections[1:] for x, _ in points.get_offsets().tolist()
    )
    assert places == [0.0, 0.5, 1.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["alpha"]


def test_a_study_without_answers_has_no_such_section(make_study: MakeStudy) -> None:
    assert answers.section(make_study([edit_row(1)])) is None


def test_the_page_on_answers_has_the_gap(asked: ReportData, tmp_path: Path) -> None:
    (tmp_path / PAGE).parent.mkdir()
    (tmp_path / PAGE).write_text(f"before\n{GAP[0]}\nstale\n{GAP[1]}\nafter", encoding="utf-8")
    assert write(asked, tmp_path) == [tmp_path / PAGE, tmp_path / FIGURE]
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert (
        "small: under teacher forcing, edits have an efficacy of 100 %. Asked freely after the "
        "bare prompt, 25 % of the edited models answer with exactly the new object, and 50 % with "
        "a text that contains it; after an instruction, 0 % of the edited models answer with "
        "exactly the new object, and 0 % with a text that contains it."
    ) in text
    assert "| small | alpha | hard | efficacy | 4 | 1.00 | 0.25 | 0.50 |" in text
    assert "took" not in text
    assert text.startswith("before\n") and text.endswith("\nafter") and "stale" not in text
    assert (tmp_path / FIGURE).stat().st_size > 1000


def test_the_page_compares_the_cost_of_answers_with_that_of_tasks(asked: ReportData) -> None:
    edited = {"model": "small", "editor": "alpha", "dataset": "hard", "case_id": 1, "metric": "acc"}
    edited |= {"random": 0.0, "n_items": 3, "status": "ok", "score": 0.5}
    unedited = edited | {"editor": None, "dataset": None, "case_id": None}
    rows = [edited | {"task": task, "seconds": 4.0} for task in ("one", "two")]
    rows += [unedited | {"task": task, "seconds": 99.0} for task in ("one", "two")]
    write_table(asked.folder / "downstream.parquet", rows, DOWNSTREAM, {})
    summed = read_table(asked.folder / "answers.parquet", ANSWERS_SUMMARY)
    assert list(cost(asked, summed)) == [
        "small: the answers of an edited model took 1.50 seconds (mean of 4), and its 2 tasks "
        "8 (mean of 1)."
    ]
