"""The page at first sight and with all opened: its size, themes, keyboard, touch, no script."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from editcore.report.data import ReportData
from tests.report.axe import findings
from tests.report.browser import Page, browser, program
from tests.report.conftest import MakeStudy
from tests.report.test_page import render
from tests.rows import edit_row

pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium here: the page was not looked at in a browser"
)
# axe takes seconds, and the papers add only more tables and figures.
without_papers = pytest.mark.parametrize("report", [False], indirect=True, ids=["study"])
SIZES = ((1400, 1000), (390, 844))
HEIGHT = "document.documentElement.scrollHeight"
OPEN = "document.querySelectorAll('main details').forEach((each) => { each.open = true })"
# Regions that are wider than they are shown, without the mark that their hint needs.
UNMARKED = """[...document.querySelectorAll('.scroll')].filter((region) =>
  region.scrollWidth > region.clientWidth + 1 && !region.matches('.more > *')).length"""
CUT = """[...document.querySelectorAll('main table, main figure')].filter((each) => {
  const region = each.closest('.scroll');
  return !region && each.getBoundingClientRect().right > innerWidth + 1;
}).length"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """One browser for all tests in this file."""
    with browser() as page:
        yield page


def open_all(page: Page) -> None:
    """Open what is folded, and wait until it is drawn."""
    page.value(OPEN)
    page.frame()


@without_papers
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_axe_finds_nothing_serious(
    tab: Page, report: Path, width: int, height: int, dark: bool
) -> None:
    tab.open(report, width=width, height=height, dark=dark)
    open_all(tab)
    assert findings(tab) == []


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_folded_page_is_short_and_small_and_nothing_is_cut_without_a_hint(
    tab: Page, report: Path, width: int, height: int
) -> None:
    assert report.stat().st_size < 4e6
    tab.open(report, width=width, height=height)
    if width == 1400:
        assert tab.value(HEIGHT) <= 9 * height
    open_all(tab)
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert (tab.value(UNMARKED), tab.value(CUT)) == (0, 0)
    if width < 600:
        assert tab.value("document.querySelectorAll('.more').length") > 0
        hints = "[...document.querySelectorAll('.more > .hint')].map((h) => h.offsetHeight > 0)"
        tab.send("Emulation.setTouchEmulationEnabled", enabled=True)
        tab.frame()
        assert set(tab.value(hints)) == {True}
        tab.send("Emulation.setTouchEmulationEnabled", enabled=False)


@without_papers
def test_the_first_screen_holds_the_sentence_the_grid_and_the_figure(
    tab: Page, report: Path
) -> None:
    tab.open(report, width=1400, height=1000)
    ends = "[...document.querySelectorAll('.headline, .grid, .causes')].map((e) => e.{}.bottom)"
    bottoms = tab.value(ends.format("getBoundingClientRect()"))
    assert len(bottoms) == 3 and max(bottoms) < 1000
    assert tab.value("document.querySelectorAll('.grid .sort').length") == 0
    tab.open(report, width=390, height=844)
    assert tab.value(ends.format("getBoundingClientRect()"))[1] < 844


def test_a_grid_of_many_editors_scrolls(tab: Page, make_study: MakeStudy, tmp_path: Path) -> None:
    render(make_study([edit_row(1, editor=f"editor-{n}") for n in range(30)]), tmp_path)
    tab.open(tmp_path / "report.html", width=1400, height=1000)
    assert tab.value("document.querySelector('.scroll:has(.grid)').offsetHeight") < 500
    assert tab.value(HEIGHT) < 9 * 1000


@without_papers
def test_the_menu_marks_the_section_in_view_and_covers_nothing(tab: Page, report: Path) -> None:
    current = "[...document.querySelectorAll('.menu [aria-current]')].map((link) => link.hash)"
    for width, height in SIZES:
        tab.open(report, width=width, height=height)
        assert tab.value(current) == ["#summary"]
        folded = tab.value("!document.querySelector('.menu details').open")
        assert folded == (width < 600)
        for anchor in ("#metrics", "#part-run", "#part-edits"):
            tab.value(f"location.hash = {anchor!r}")
            tab.frame()
            top = tab.value(f"document.querySelector({anchor!r}).getBoundingClientRect().top")
            menu = tab.value("document.querySelector('.menu').getBoundingClientRect().bottom")
            assert top >= (menu if width < 600 else 0)
        tab.value("scrollTo(0, 0)")
        tab.frame()


@without_papers
def test_the_keyboard_skips_to_the_results_and_opens_a_term(tab: Page, report: Path) -> None:
    tab.open(report)
    tab.key("Tab")
    assert tab.value("document.activeElement.hash") == "#main"
    assert tab.value("document.activeElement.getBoundingClientRect().top") >= 0
    term = "document.querySelector('.headline dfn button')"
    tab.value(f"{term}.focus()")
    assert tab.value("document.querySelectorAll('.term:popover-open').length") == 0
    tab.value(f"{term}.click()")
    opened = "document.querySelector('.term:popover-open').innerText"
    assert tab.value(opened).startswith("collapse: an edited model that no longer")
    escape = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}
    for kind in ("rawKeyDown", "keyUp"):
        tab.send("Input.dispatchKeyEvent", type=kind, **escape)
    assert tab.value("document.querySelectorAll('.term:popover-open').length") == 0


@without_papers
def test_without_scripts_everything_can_be_read(
    tab: Page, report: Path, study: ReportData, tmp_path: Path
) -> None:
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(report, width=390, height=844)
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)
    shown = tab.value("document.body.innerText")
    assert "alpha collapsed small in 10 of 20 hard cases" in shown
    assert tab.value("document.querySelectorAll('main details[open]').length") == 0
    open_all(tab)
    assert tab.value("document.body.innerText").count("Word4") > shown.count("Word4")


@without_papers
def test_what_is_folded_is_printed_even_without_scripts(tab: Page, report: Path) -> None:
    tab.open(report)
    table = "document.querySelector('main details table').checkVisibility()"
    assert tab.value(table) is False
    tab.send("Emulation.setEmulatedMedia", media="print")
    tab.frame()
    assert tab.value(table) is True
    tab.send("Emulation.setEmulatedMedia", media="")
