"""Links to a selection or to a case of the page, and the files that the page makes of them."""

import base64
import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from editcore.report.data import ReportData
from tests.report.browser import Page, browser, program
from tests.report.conftest import MakeStudy
from tests.report.explorer import case, choose, chosen, drawn, plain_page, point, press, status
from tests.rows import edit_row

pytestmark = pytest.mark.skipif(
    program() is None, reason="no Chromium here: the links were not followed in a browser"
)
PROBLEM = "document.getElementById('problem').innerText"
ALPHA = "cases:model=small&editor=alpha&dataset=hard&grade=collapsed"
CASE_FOUR = "case:model=small&editor=alpha&dataset=hard&id=4"
# Keeps what the page offers as a file, and does not let the browser store it.
CATCH = """
  window.files = {};
  HTMLAnchorElement.prototype.click = function () {
    files[this.download] = fetch(this.href).then((answer) => answer.blob());
  };
"""
READ = """(async () => {
  const bytes = new Uint8Array(await (await files[NAME]).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
})()"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """One browser for all tests in this file."""
    with browser() as page:
        yield page


def back(page: Page, steps: int = -1) -> None:
    """Press Back, or with a positive number of steps Forward."""
    page.send(
        "Runtime.evaluate",
        expression=(
            "new Promise((done) => { addEventListener('hashchange', done, { once: true });"
            f" history.go({steps}) }})"
        ),
        awaitPromise=True,
    )
    page.frame()


def saved(page: Page, words: str, name: str) -> bytes:
    """The file that a button of the page makes."""
    page.value(CATCH)
    press(page, words)
    for _ in range(100):
        if page.value(f"{name!r} in files"):
            break
        page.frame()
    names = page.value("Object.keys(files)")
    assert names == [name]
    answer = page.send(
        "Runtime.evaluate", expression=READ.replace("NAME", repr(name)), awaitPromise=True
    )
    return base64.b64decode(answer["result"]["value"])


def test_a_link_selects_a_group_and_brings_it_into_view(tab: Page, plain: Path) -> None:
    tab.open(plain, link=ALPHA)
    assert status(tab).startswith("10 edits: 10 collapsed, 0 damaged, 0 sound.")
    assert {*map(tuple, drawn(tab))} == {("alpha", "collapsed")}
    top = tab.value("document.getElementById('explore').getBoundingClientRect().top")
    assert 0 <= top < 450
    assert [chosen(tab, name) for name in ("model", "editor", "dataset", "grade")] == [
        "small",
        "alpha",
        "hard",
        "collapsed",
    ]


def test_a_link_in_the_page_selects_even_if_it_was_followed_before(tab: Page, plain: Path) -> None:
    tab.open(plain)
    tab.value(
        "document.querySelector('main').insertAdjacentHTML('afterbegin',"
        f" '<a id=to href=\"#{ALPHA}\">10</a>')"
    )
    for _ in range(2):
        tab.value(
            "document.getElementById('to').scrollIntoView(); document.getElementById('to').click()"
        )
        tab.frame()
        assert len(drawn(tab)) == 10
        assert tab.value("document.getElementById('explore').getBoundingClientRect().top") < 450


def test_a_link_opens_a_case(tab: Page, plain: Path) -> None:
    tab.open(plain, link=CASE_FOUR)
    assert "Word4 is made by" in case(tab) and "alpha on small, hard case 4" in case(tab)
    assert "Close" in case(tab)
    choose(tab, "editor", "beta")
    assert case(tab) == ""
    tab.open(plain, link="case:model=small&editor=alpha&dataset=hard&id=20")
    assert "failed: target too long" in case(tab)


def test_back_and_forward_go_through_selections_and_cases(tab: Page, plain: Path) -> None:
    tab.open(plain)
    choose(tab, "model", "small")
    choose(tab, "editor", "alpha")
    tab.value("document.getElementById('stage').scrollIntoView({ block: 'center' })")
    tab.click(*point(tab, "Word4"))
    assert tab.value("location.hash") == f"#{CASE_FOUR}"
    back(tab)
    assert case(tab) == "" and (chosen(tab, "model"), chosen(tab, "editor")) == ("small", "alpha")
    back(tab)
    assert (chosen(tab, "model"), chosen(tab, "editor")) == ("small", "")
    back(tab)
    assert chosen(tab, "model") == ""
    back(tab, 3)
    assert "hard case 4" in case(tab)
    assert tab.complaints() == []


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (
            "case:model=small&editor=alpha&dataset=hard&id=999",
            "case 999 of alpha on small, hard, which is not in this study",
        ),
        (
            "case:model=no&editor=alpha&dataset=hard&id=4",
            "case 4 of alpha on no, hard, which is not in this study",
        ),
        ("case:id=4", "A link to a case names its model, editor, dataset and id"),
        ("cases:editor=nobody", "The link names the editor “nobody”, which is not in this study."),
        ("cases:grade=constructor&axis=constructor&colour=constructor", "the grade “constructor”"),
    ],
)
def test_a_link_to_what_is_not_there_says_so(tab: Page, plain: Path, link: str, words: str) -> None:
    tab.open(plain, link=link)
    assert words in tab.value(PROBLEM)
    assert status(tab).startswith("202 edits:") and len(drawn(tab)) == 200
    assert tab.complaints() == []


@pytest.mark.parametrize(
    "link", ["cases:%", "case:%E0%A4%A", "cases:&&==&=x", "case", "cases", "%", "cases:text=%00<b>"]
)
def test_a_malformed_link_does_no_harm(tab: Page, plain: Path, link: str) -> None:
    tab.open(plain, link=link)
    assert status(tab)
    assert tab.complaints() == []


def test_selections_and_cases_have_links_to_copy(tab: Page, plain: Path) -> None:
    tab.open(plain, link=CASE_FOUR)
    tab.value(
        "window.copied = []; navigator.clipboard.writeText = async (text) => copied.push(text)"
    )
    press(tab, "Copy link")
    tab.frame()
    assert tab.value("document.getElementById('done').textContent") == "The link is copied."
    press(tab, "Close")
    choose(tab, "grade", "damaged")
    choose(tab, "colour", "grade")
    press(tab, "Copy link to this selection")
    tab.frame()
    address = plain.as_uri()
    assert tab.value("copied") == [
        f"{address}#{CASE_FOUR}",
        f"{address}#cases:grade=damaged&colour=grade",
    ]
    tab.open(plain, link="cases:grade=damaged&colour=grade")
    assert (chosen(tab, "grade"), chosen(tab, "colour")) == ("damaged", "grade")


def test_the_csv_has_the_selected_cases_with_their_numbers(
    tab: Page, plain: Path, study: ReportData
) -> None:
    tab.open(plain, link="cases:model=small&editor=alpha&dataset=hard")
    text = saved(tab, "Cases as CSV", "alpha-small-hard.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    cases = (
        study.cases.filter(model="small", editor="alpha", dataset="hard").sort("case_id").to_dicts()
    )
    assert [int(row["case_id"]) for row in rows] == [one["case_id"] for one in cases]
    for row, one in zip(rows, cases, strict=True):
        for name in ("perplexity", "perplexity_ratio", "denominator", "kl_mean", "efficacy"):
            wanted = one[name]
            assert (
                row[name] == ""
                if wanted is None
                else float(row[name]) == pytest.approx(wanted, rel=1e-6)
            )
        assert row["status"] == one["status"]
        assert row["grade"] == (one["grade"] or "failed")
        assert row["continuation"] == (one["continuation"] or "")


def test_a_text_in_the_csv_is_quoted_and_is_no_formula(
    tab: Page, make_study: MakeStudy, tmp_path: Path
) -> None:
    texts = {
        "subject": '=HYPERLINK("x")',
        "target_new": "a, b\r\nc",
        "target_true": "@sum",
        "continuation": "+1",
    }
    row = edit_row(1, math.inf, 0.5, **texts)
    tab.open(plain_page(make_study([row, edit_row(2)]), tmp_path))
    text = saved(tab, "Cases as CSV", "all-cases.csv").decode()
    first, _ = csv.DictReader(io.StringIO(text, newline=""))
    assert first["subject"] == '\'=HYPERLINK("x")'
    assert first["target_new"] == "a, b\r\nc"
    assert (first["target_true"], first["continuation"]) == ("'@sum", "'+1")
    assert float(first["perplexity"]) == math.inf


def test_the_figure_is_saved_as_svg_and_png(tab: Page, plain: Path) -> None:
    tab.open(plain, link="cases:model=small&editor=alpha")
    svg = ET.fromstring(saved(tab, "Figure as SVG", "alpha-small.svg"))
    words = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    shown = len(drawn(tab))
    assert f"alpha on small: {shown} edits" in words
    for expected in (
        "|denominator| of the update",
        "perplexity: edited / unedited",
        "hard",
        "normal",
        "collapsed",
        "∞",
    ):
        assert expected in words
    paths = list(svg.iter("{http://www.w3.org/2000/svg}path"))
    assert len(paths) == shown + 5  # the legend has two data sets and three grades
    png = saved(tab, "Figure as PNG", "alpha-small.png")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (1800, 1200)
    assert len(png) > 20_000


def test_the_page_links_to_all_cases_if_they_are_next_to_it(
    tab: Page, study: ReportData, tmp_path: Path
) -> None:
    link = "document.querySelector('#all-cases a')?.getAttribute('href')"
    tab.open(plain_page(study, study.folder.parent))
    assert tab.value(link) == "summary/cases.parquet"
    tab.open(plain_page(study, tmp_path))
    assert tab.value(link) is None
