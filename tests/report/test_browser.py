"""The page in a browser: it draws without errors, shows the case under the mouse, and filters."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editcore.records.columns import meanings
from editcore.records.schemas import CASES
from tests.report.browser import Page, browser, program

pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium here: the page was not looked at in a browser"
)
COUNT = "document.getElementById('count').textContent"
MEANINGS = meanings(CASES)
CASE = "document.getElementById('case').innerText"
# The chart's drawn points of one case, in the window's pixels.
POINT = """(() => {
  const chart = Chart.getChart('chart'), box = chart.canvas.getBoundingClientRect();
  for (const [set, data] of chart.data.datasets.entries()) {
    const index = data.data.findIndex((point) => point.one.subject === 'SUBJECT');
    if (index < 0) continue;
    const at = chart.getDatasetMeta(set).data[index];
    return [box.left + at.x, box.top + at.y];
  }
})()"""


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


def point(page: Page, subject: str) -> tuple[float, float]:
    """The position of a case's point in the window."""
    x, y = page.value(POINT.replace("SUBJECT", subject))
    return x, y


def choose(page: Page, control: str, value: str) -> None:
    """Choose a filter as a user does."""
    page.value(
        f"(() => {{ const c = document.getElementById('by-{control}'); c.value = {value!r};"
        " c.dispatchEvent(new Event('change')); c.dispatchEvent(new Event('input')) })()"
    )


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True)])
def test_it_draws_without_complaint_and_asks_for_nothing(
    tab: Page, report: Path, width: int, dark: bool
) -> None:
    tab.open(report, width=width, dark=dark)
    assert tab.complaints() == []
    assert tab.requests() == [report.as_uri()]
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value("Chart.getChart('chart').data.datasets.length") == 2


def test_pointing_at_a_case_shows_it_and_a_click_keeps_it(page: Page) -> None:
    worst, other = point(page, "Word4"), point(page, "Word6")
    page.mouse("mouseMoved", *worst)
    shown = page.value(CASE)
    for words in ("Word4 is made by", "Elro → Osdor", "alpha on", "hard case 4", "4 → ∞ (×∞)"):
        assert words in shown
    page.mouse("mousePressed", *worst)
    page.mouse("mouseReleased", *worst)
    page.mouse("mouseMoved", *other)
    assert "hard case 4" in page.value(CASE)
    page.value("document.getElementById('chart').focus()")
    page.key("Escape")
    page.mouse("mouseMoved", *other)
    assert "hard case 6" in page.value(CASE)


def test_each_number_of_a_case_explains_its_column(page: Page) -> None:
    page.mouse("mouseMoved", *point(page, "Word6"))
    heads = "[...document.querySelectorAll('#case dt')]"
    titles = page.value(f"Object.fromEntries({heads}.map((e) => [e.textContent, e.title]))")
    assert titles["|denominator|"] == f"denominator: {MEANINGS['denominator']}"
    columns = [line.split(": ")[0] for title in titles.values() for line in title.split("\n")]
    assert len({*columns}) == len(columns) == 20 and {*columns} <= {*MEANINGS}


def test_the_case_shows_continuations_before_and_after_the_edit(page: Page) -> None:
    page.mouse("mouseMoved", *point(page, "Word6"))
    shown = re.sub(r"\s+", " ", page.value(CASE))
    assert "before Word6 is made by Elro. The sea is quiet" in shown
    assert "after Word6 is made by Osdor. ↵ of 6" in shown
    broken = point(page, "Word4")
    page.mouse("mousePressed", *broken)
    page.mouse("mouseReleased", *broken)
    page.mouse("mouseMoved", 5, 5)
    shown = re.sub(r"\s+", " ", page.value(CASE))
    assert "before Word4 is made by Elro. The sea is quiet" in shown
    assert "after Word4 is made by nothing: its probabilities are not finite" in shown


def test_each_model_editor_and_data_set_alone_is_counted(page: Page, study: Any) -> None:
    total = 0
    for name, labels in [("model", study.models), ("editor", study.editors)]:
        for label in labels:
            choose(page, name, label)
            made = study.made(**{name: label})
            assert page.value(COUNT).startswith(f"{len(made)} edits, ")
            total += len(made)
        choose(page, name, "")
    assert total == 2 * len(study.made())


def test_the_line_of_collapse_is_drawn_for_models_of_one_threshold(page: Page) -> None:
    levels = page.value("Chart.getChart('chart').$levels.map(([_, words]) => words)")
    assert "collapsed above ×10" in levels


def test_a_dark_page_is_printed_light(tab: Page, report: Path) -> None:
    tab.open(report, dark=True)
    colour = "Chart.getChart('chart').options.plugins.legend.labels.color"
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


def counted(made: Any) -> str:
    """The line that counts the edits of a table."""
    collapsed, damaged = ((made["grade"] == grade).sum() for grade in ("collapsed", "damaged"))
    return f"{len(made)} edits, {collapsed} collapsed, {damaged} damaged."


def test_a_grade_can_be_chosen_and_has_a_colour_of_its_own(page: Page, study: Any) -> None:
    choose(page, "colour", "grade")
    sets = (
        "Chart.getChart('chart').data.datasets.map((d) => [d.label.split(',')[0], d.borderColor])"
    )
    colours = dict(page.value(sets))
    assert set(colours) == {"sound", "damaged", "collapsed"}
    assert len(set(colours.values())) == 3
    choose(page, "grade", "damaged")
    damaged = study.made(grade="damaged")
    assert page.value(COUNT) == f"{len(damaged)} edits, 0 collapsed, {len(damaged)} damaged."
    choose(page, "grade", "")
    choose(page, "colour", "dataset")


def test_filters_change_the_count(page: Page, study: Any) -> None:
    made = study.made()
    whole = counted(made)
    assert page.value(COUNT) == whole
    choose(page, "model", "small")
    choose(page, "editor", "alpha")
    alpha = study.made(model="small", editor="alpha")
    assert page.value(COUNT) == counted(alpha)
    choose(page, "dataset", "normal")
    normal = study.made(model="small", editor="alpha", dataset="normal")
    assert page.value(COUNT) == f"{len(normal)} edits, 0 collapsed, 0 damaged."
    choose(page, "text", "Word1003")
    assert page.value(COUNT) == "1 edit, 0 collapsed, 0 damaged."
    assert page.value("Chart.getChart('chart').data.datasets.flatMap((d) => d.data).length") == 1
    choose(page, "text", "")
    for name in ("model", "editor", "dataset"):
        choose(page, name, "")
    assert page.value(COUNT) == whole
    assert page.complaints() == []


def test_arrows_go_from_case_to_case(page: Page) -> None:
    page.value("document.getElementById('chart').focus()")
    seen = []
    for _ in range(3):
        page.key("ArrowRight")
        shown = re.search(r"\|denominator\|\s+([\d.]+)", page.value(CASE))
        assert shown
        seen.append(float(shown[1]))
    assert seen == sorted(seen)
    page.key("ArrowLeft")
    assert str(seen[1]) in page.value(CASE)


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


def test_two_thousand_points_stay_responsive(tab: Page, report: Path) -> None:
    tab.open(report)
    script = """(() => {
      const chart = Chart.getChart('chart'), [first] = chart.data.datasets;
      first.data = Array.from({length: 2000}, (_, i) => ({...first.data[i % first.data.length]}));
      chart.update();
      const began = performance.now();
      for (let i = 0; i < 5; i++) chart.draw();
      return (performance.now() - began) / 5;
    })()"""
    # People begin to notice a delay at a tenth of a second.
    assert tab.value(script) < 100
