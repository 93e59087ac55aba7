"""The page in a browser: it draws without errors, sorts its tables, and prints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Page, browser, program
from tests.report.explorer import drawn

pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium here: the page was not looked at in a browser"
)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """One browser for all tests in this file."""
    with browser() as page:
        yield page


@pytest.fixture
def page(tab: Page, report: Path) -> Page:
    """The page, newly opened and scrolled to its chart."""
    tab.open(report)
    tab.value("document.getElementById('explore').scrollIntoView()")
    return tab


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True)])
def test_it_draws_without_complaint_and_asks_for_nothing(
    tab: Page, report: Path, width: int, dark: bool
) -> None:
    tab.open(report, width=width, dark=dark)
    assert tab.complaints() == []
    assert tab.requests() == [report.as_uri()]
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert len(drawn(tab)) == 200


def test_a_dark_page_is_printed_light(tab: Page, report: Path) -> None:
    tab.open(report, dark=True)
    colour = "Chart.getChart('chart').options.scales.x.title.color"
    dark = tab.value(colour)
    dark_scheme = {"name": "prefers-color-scheme", "value": "dark"}
    tab.send("Emulation.setEmulatedMedia", media="print", features=[dark_scheme])
    tab.frame()
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.value(colour) != dark
    tab.send("Emulation.setEmulatedMedia", media="", features=[dark_scheme])
    tab.frame()
    assert tab.value(colour) == dark
    assert tab.complaints() == []


def test_a_table_sorts_by_the_column_that_is_clicked(page: Page) -> None:
    cells = (
        "[...document.querySelector('#perplexity').closest('section').querySelector('tbody').rows]"
        ".map((row) => row.cells[6].textContent)"
    )
    button = (
        "document.querySelector('#perplexity').closest('section')"
        ".querySelectorAll('th button')[6].click()"
    )
    page.value(button)
    rising = [int(text) for text in page.value(cells)]
    page.value(button)
    falling = [int(text) for text in page.value(cells)]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert rising[0] < rising[-1]


def test_links_lead_to_sections_and_folded_tables_are_printed(page: Page) -> None:
    seen = """(() => {
      const box = document.querySelector(location.hash).getBoundingClientRect();
      return document.elementFromPoint(box.left + 2, box.top + 2)?.closest("h2, h3")?.id;
    })()"""
    for anchor in page.value("[...document.querySelectorAll('main .here')].map((a) => a.hash)"):
        page.value(f"location.hash = {anchor!r}")
        assert f"#{page.value(seen)}" == anchor, "a heading is hidden"
    missing = (
        "[...document.querySelectorAll('nav a')].filter((a) => !document.querySelector(a.hash))"
    )
    assert page.value(f"{missing}.length") == 0
    page.value("window.dispatchEvent(new Event('beforeprint'))")
    assert page.value("document.querySelectorAll('details:not([open])').length") == 0
    page.value("window.dispatchEvent(new Event('afterprint'))")
    assert page.complaints() == []
