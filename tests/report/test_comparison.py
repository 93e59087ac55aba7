"""The page that compares studies: one file, escaped, readable on a phone."""

import re
from pathlib import Path

import pytest

from editcore.report.comparison.page import write
from editcore.report.drawing.paired import MOST_SAME, draw, drawable, thinned
from editcore.report.drawing.style import drawing
from editcore.summary.compared.comparison import compare
from tests.compared import changed, collapsed, finished, rows
from tests.report.browser import browser, program

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two studies against a first one, with a subject that is markup."""
    folder = tmp_path_factory.mktemp("compared")
    cases = changed(rows(), [0], subject=EVIL)
    old = finished(folder / "old", cases)
    worse = finished(folder / "worse", collapsed(cases, range(8)), revision="others")
    better = finished(folder / "better", changed(cases, range(12), efficacy=0.9))
    write(folder / "page.html", compare([old, worse, better], {}))
    return folder / "page.html"


def test_it_has_the_outcomes_and_the_cases_that_moved(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.index("Not like with like") < text.index("REGRESSION: ")
    assert "IMPROVED: " in text
    assert "beta on small, hard: 8 moved" in text
    assert "Word7" in text


def test_text_of_rows_cannot_become_markup_and_nothing_is_loaded(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r'(?:src|href)="(?!#)', text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_figure_draws_every_moved_case_and_thins_out_the_others(tmp_path: Path) -> None:
    many = rows(1000)
    old = finished(tmp_path / "old", many)
    (found,) = compare([old, finished(tmp_path / "new", collapsed(many, range(300)))], {})
    points = drawable(found.joined.cases)
    assert len(points) == 4000
    assert (points["steps"] > 0).sum() == 300
    assert MOST_SAME / 2 < len(thinned(points.filter(steps=0))) <= MOST_SAME
    with drawing():
        figure = draw(found.joined.cases)
    (axes,) = figure.axes
    drawn = sorted(len(each.get_offsets()) for each in axes.collections)  # type: ignore[arg-type]
    assert drawn[0] == 300
    assert drawn[1] <= MOST_SAME


@pytest.mark.skipif(program() is None, reason="no Chromium here")
def test_it_fits_windows_without_complaint(page: Path) -> None:
    with browser() as tab:
        for width, dark in ((1400, False), (390, False), (390, True)):
            tab.open(page, width=width, dark=dark)
            assert tab.complaints() == []
            assert tab.requests() == [page.as_uri()]
            assert tab.value("document.documentElement.scrollWidth") <= width
