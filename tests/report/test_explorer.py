"""The explorer of the cases in a browser: what it shows of every edit, and to whom."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import StudyConfig, parse
from editcore.records.columns import meanings
from editcore.records.schemas import CASES
from editcore.report.data import ReportData, read
from tests.report.browser import Page, browser, program
from tests.report.conftest import summarise
from tests.report.explorer import (
    CASE,
    case,
    choose,
    chosen,
    drawn,
    plain_page,
    point,
    press,
    status,
)
from tests.rows import DAMAGED, edit_row, failed_row

pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium here: the explorer was not looked at in a browser"
)
MEANINGS = meanings(CASES)
PHONE = {"width": 390, "height": 844, "touch": True}


@pytest.fixture(scope="module")
def three_editors() -> StudyConfig:
    """One model and three editors."""
    raw = {
        "models": {"small": {"source": "tiny"}},
        "editors": {"alpha": {"options": {"layer": 2}}, "beta": None, "gamma": None},
        "datasets": {"hard": {"path": "hard.json"}, "normal": {"path": "normal.json"}},
    }
    return parse(raw, "test")


@pytest.fixture(scope="module")
def mixed(three_editors: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on an editor with denominators, one without, one that changes no weights."""
    rows = [edit_row(c, 4.0 * 10 ** (c / 2), 10.0 ** (1 - c), editor="alpha") for c in range(1, 9)]
    rows.append(edit_row(9, math.inf, 0.0, editor="alpha"))
    rows.append(edit_row(10, 4.1, 2.0, editor="alpha", top1_kept=DAMAGED))
    rows += [edit_row(c, 4.0 + c / 100, None, editor="beta") for c in range(10)]
    none = dict.fromkeys(("delta_norm", "weight_norm", "warning"))
    rows += [edit_row(c, 4.0 + c / 50, None, editor="gamma", **none) for c in range(4)]
    rows += [failed_row(c, editor="gamma", dataset="normal") for c in (70, 71)]
    folder = tmp_path_factory.mktemp("mixed")
    return plain_page(read(summarise(rows, folder), three_editors), folder)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """One browser for all tests in this file."""
    with browser() as page:
        yield page


@pytest.fixture
def page(tab: Page, mixed: Path) -> Iterator[Page]:
    """The page, newly opened and scrolled to its chart; nothing complains."""
    tab.open(mixed)
    tab.value("document.getElementById('explore').scrollIntoView()")
    yield tab
    assert tab.complaints() == []


def test_every_edit_is_drawn_at_first(page: Page) -> None:
    assert len(drawn(page)) == 24
    assert status(page) == (
        "26 edits: 7 collapsed, 1 damaged, 16 sound, 2 failed. "
        "24 of 26 edits shown. 2 failed (target too long: 2)."
    )


def test_the_axis_is_a_quantity_that_the_selected_edits_have(page: Page) -> None:
    assert chosen(page, "axis") == "rank"
    for editor, axis in [("alpha", "denominator"), ("beta", "change"), ("gamma", "rank")]:
        choose(page, "editor", editor)
        assert chosen(page, "axis") == axis
    options = page.value(
        "[...document.getElementById('by-axis').options].map((o) => [o.value, o.disabled, o.text])"
    )
    assert {name for name, disabled, _ in options if not disabled} == {"rank"}
    assert all("none of these edits has one" in text for _, disabled, text in options if disabled)


def test_edits_without_the_chosen_quantity_are_counted_and_can_be_shown(page: Page) -> None:
    choose(page, "axis", "denominator")
    assert "10 of 26 edits shown. 14 have no denominator (beta, gamma). Show them by" in status(
        page
    )
    press(page, "Show them by rank")
    assert "24 of 26 edits shown. 2 failed" in status(page)
    assert len(drawn(page)) == 24
    choose(page, "editor", "beta")
    choose(page, "axis", "denominator")
    assert chosen(page, "axis") == "change", "no edit of beta has a denominator"


def test_zero_and_infinity_are_at_the_ends_of_the_axes(page: Page) -> None:
    choose(page, "editor", "alpha")
    labels = "Chart.getChart('chart').scales.{}.ticks.map((tick) => tick.label)"
    assert "0" in page.value(labels.format("x")) and "∞" in page.value(labels.format("y"))
    assert len(drawn(page)) == 10
    x, y = point(page, "Word9")
    others = [point(page, f"Word{c}") for c in range(1, 9)]
    assert all(x < left and y < top for left, top in others)


def test_an_empty_selection_says_so_and_takes_back_the_last_filter(page: Page) -> None:
    choose(page, "model", "small")
    choose(page, "editor", "beta")
    choose(page, "grade", "collapsed")
    words = "document.getElementById('nothing').innerText"
    assert page.value(words).startswith("No case of beta on small collapsed.")
    press(page, "Show all of its cases")
    assert (chosen(page, "grade"), chosen(page, "editor")) == ("", "beta")
    assert len(drawn(page)) == 10 and page.value("document.getElementById('nothing').hidden")
    assert page.value("document.activeElement.id") == "chart"
    choose(page, "text", "nowhere")
    assert "has “nowhere” in its subject or objects" in page.value(words)
    press(page, "Clear the search")
    assert chosen(page, "text") == "" and len(drawn(page)) == 10
    choose(page, "editor", "gamma")
    choose(page, "dataset", "normal")
    assert "All of these edits failed (target too long: 2)." in page.value(words)
    press(page, "Show all cases")
    assert len(drawn(page)) == 24


def counted(cases: Any) -> str:
    """The beginning of the line that counts the edits of a table."""
    grades = ("collapsed", "damaged", "sound")
    words = ", ".join(f"{(cases['grade'] == grade).sum()} {grade}" for grade in grades)
    failed = (cases["status"] != "ok").sum()
    edits = "1 edit" if len(cases) == 1 else f"{len(cases)} edits"
    return f"{edits}: {words}, {failed} failed." if failed else f"{edits}: {words}."


def test_the_filters_select_what_the_table_has(tab: Page, plain: Path, study: ReportData) -> None:
    tab.open(plain)
    assert status(tab).startswith(counted(study.cases))
    where = {"model": "small", "editor": "alpha", "dataset": "hard", "grade": "damaged"}
    for name, value in where.items():
        choose(tab, name, value)
        assert status(tab).startswith(counted(study.cases.filter(**{name: value})))
        choose(tab, name, "")
    for name, value in where.items():
        choose(tab, name, value)
    assert status(tab) == counted(study.cases.filter(**where))
    choose(tab, "text", "WORD5")
    assert status(tab) == "1 edit: 0 collapsed, 1 damaged, 0 sound."


def test_the_legend_switches_grades_and_editors_off(page: Page) -> None:
    choose(page, "colour", "editor")
    press(page, "collapsed")
    assert {grade for _, grade in drawn(page)} == {"sound", "damaged"}
    press(page, "beta")
    assert {editor for editor, _ in drawn(page)} == {"alpha", "gamma"}
    assert "17 switched off in the legend. Show them" in status(page)
    press(page, "Show them")
    assert len(drawn(page)) == 24


def test_each_grade_has_a_shape_and_on_request_a_colour_of_its_own(page: Page) -> None:
    look = (
        "Chart.getChart('chart').data.datasets"
        ".map((d) => [d.data[0].one.grade, d.pointStyle, d.borderColor])"
    )
    shapes = {grade: shape for grade, shape, _ in page.value(look)}
    assert len(set(shapes.values())) == len(shapes) == 3
    choose(page, "colour", "grade")
    colours = {grade: colour for grade, _, colour in page.value(look)}
    assert len(set(colours.values())) == len(colours) == 3


def box(page: Page, element: str) -> list[float]:
    """The left, top, right and bottom of an element in the window."""
    sides = "({ left, top, right, bottom }) => [left, top, right, bottom]"
    found: list[float] = page.value(f"({sides})({element}.getBoundingClientRect())")
    return found


@pytest.mark.parametrize("kept", [False, True])
def test_the_card_is_next_to_the_point_and_inside_the_chart(page: Page, kept: bool) -> None:
    cases = [("alpha", "Word9"), ("beta", "Word0"), ("alpha", "Word5"), ("gamma", "Word3")]
    stage = box(page, "document.getElementById('stage')")
    for editor, subject in cases:
        x, y = point(page, subject, editor)
        page.mouse("mouseMoved", x, y)
        if kept:
            page.click(x, y)
        assert f"{subject} is made by" in case(page) and f"{editor} on small" in case(page)
        left, top, right, bottom = box(page, CASE)
        assert not (left <= x <= right and top <= y <= bottom)
        assert min(abs(left - x), abs(right - x)) < 24
        assert stage[0] <= left and right <= stage[2]
        assert max(0, stage[1]) <= top + 1 and bottom <= min(900, stage[3] + 1)
        page.key("Escape")
    page.mouse("mouseMoved", 5, 5)
    assert case(page) == ""


def test_a_click_keeps_the_card_and_escape_closes_it(page: Page) -> None:
    page.click(*point(page, "Word9"))
    page.mouse("mouseMoved", *point(page, "Word5"))
    assert "hard case 9" in case(page)
    page.key("Escape")
    assert case(page) == ""
    page.click(*point(page, "Word5"))
    press(page, "Close")
    assert case(page) == ""


def test_the_card_has_the_continuations_before_and_after_the_edit(page: Page) -> None:
    page.click(*point(page, "Word6", "alpha"))
    assert "before Word6 is made by Elro. The sea is quiet" in case(page)
    assert "after Word6 is made by Osdor. ↵ of 6" in case(page)
    press(page, "Close")
    page.click(*point(page, "Word9"))
    assert "4 → ∞ (×∞)" in case(page)
    assert "after Word9 is made by nothing: its probabilities are not finite" in case(page)


def test_each_number_of_a_case_is_explained(page: Page) -> None:
    page.click(*point(page, "Word5", "alpha"))
    explained = page.value(f"[...{CASE}.querySelectorAll('details p')].map((p) => p.textContent)")
    columns = [line.partition(": ")[0] for line in explained]
    assert explained == [f"{name}: {MEANINGS[name]}" for name in columns]
    assert len(set(columns)) == len(columns) == 20


def test_arrows_go_from_case_to_case_and_are_read_aloud(page: Page) -> None:
    choose(page, "editor", "alpha")
    page.value("document.getElementById('chart').focus()")
    seen = []
    for _ in range(3):
        page.key("ArrowRight")
        found = re.search(r"\|denominator\| ([\d.·⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", case(page))
        assert found
        seen.append(found[1])
    assert seen[0] == "0" and len(set(seen)) == 3
    assert "alpha on small, hard case" in page.value(
        "document.getElementById('spoken').textContent"
    )
    page.key("Enter")
    page.mouse("mouseMoved", *point(page, "Word1"))
    assert seen[-1] in case(page)


def test_a_finger_taps_a_case_and_an_empty_place_closes_it(tab: Page, mixed: Path) -> None:
    tab.open(mixed, **PHONE)
    tab.value("document.getElementById('stage').scrollIntoView({ block: 'center' })")
    intro = tab.value("document.querySelector('#explore-section > p').innerText")
    assert "Tap one to see its case" in intro and "click" not in intro and "Keyboard" not in intro
    x, y = point(tab, "Word9")
    tab.tap(x, y + 11)
    assert "hard case 9" in case(tab)
    box = "document.getElementById('chart').getBoundingClientRect()"
    assert tab.value(f"{CASE}.getBoundingClientRect().top - {box}.bottom") >= 0
    tab.tap(*tab.value(f"[{box}.left + {box}.width / 2, {box}.top + 40]"))
    assert case(tab) == ""
    sizes = (
        "[...document.querySelectorAll('#explore-section :is(button, select, input)')]"
        ".filter((e) => e.offsetParent).map((e) => Math.min(e.offsetWidth, e.offsetHeight))"
    )
    assert min(tab.value(sizes)) >= 24
    assert tab.value("document.documentElement.scrollWidth") <= 390
    assert tab.complaints() == []


def test_another_theme_changes_the_chart_while_it_is_open(page: Page) -> None:
    look = (
        "[Chart.getChart('chart').options.scales.x.title.color,"
        " document.querySelector('#legend path').getAttribute('stroke')]"
    )
    light = page.value(look)
    page.scheme(dark=True)
    page.frame()
    dark = page.value(look)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    page.scheme(dark=False)
    page.frame()
    assert page.value(look) == light


def test_nothing_moves_by_itself(page: Page) -> None:
    assert page.value("Chart.getChart('chart').options.animation") is False
    assert page.value("document.getAnimations().length") == 0


def test_ten_thousand_cases_are_drawn_within_two_seconds(
    tab: Page, three_editors: StudyConfig, tmp_path: Path
) -> None:
    one = edit_row(0)
    groups = [(editor, data) for editor in ("alpha", "beta") for data in ("hard", "normal")]
    rows: list[dict[str, Any]] = [
        one | {"case_id": c, "editor": editor, "dataset": data, "denominator": 1 + c / 500}
        for editor, data in groups
        for c in range(2500)
    ]
    tab.open(plain_page(read(summarise(rows, tmp_path), three_editors), tmp_path))
    assert len(drawn(tab)) == 10_000
    assert tab.value("performance.getEntriesByName('cases drawn')[0].startTime") < 2000
    once = (
        "(() => { const began = performance.now(); Chart.getChart('chart').draw();"
        " return performance.now() - began })()"
    )
    # People begin to notice a delay at a tenth of a second.
    assert tab.value(once) < 100
