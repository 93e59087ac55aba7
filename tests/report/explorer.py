"""The explorer of the page, as its users see and use it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from editcore.report.data import ReportData
from editcore.report.page.first_screen import first_screen
from editcore.report.page.page import write
from tests.report.browser import Page

CASE = "document.getElementById('case')"
STATUS = "document.querySelector('.counts').innerText"
# The drawn point of the first case that fits, in the window's pixels.
POINT = """((subject, editor, model) => {
  const chart = Chart.getChart('chart'), box = chart.canvas.getBoundingClientRect();
  for (const [set, data] of chart.data.datasets.entries()) {
    const index = data.data.findIndex(({ one }) => one.subject === subject
      && (!editor || one.editor === editor) && (!model || one.model === model));
    if (index < 0) continue;
    const at = chart.getDatasetMeta(set).data[index];
    return [box.left + at.x, box.top + at.y];
  }
  return null;
})"""


def plain_page(study: ReportData, folder: Path) -> Path:
    """The page of a study without figures and further sections."""
    first = replace(first_screen(study, []), drawings=())
    write(folder / "report.html", study, first)
    return folder / "report.html"


def point(page: Page, subject: str, editor: str = "", model: str = "") -> tuple[float, float]:
    """The position of a case's point in the window, once the page has come to rest."""
    page.frame()
    x, y = page.value(f"{POINT}({subject!r}, {editor!r}, {model!r})")
    return x, y


def choose(page: Page, control: str, value: str) -> None:
    """Choose a filter as a user does."""
    page.value(
        f"(() => {{ const c = document.getElementById('by-{control}'); c.value = {value!r};"
        " c.dispatchEvent(new Event(c.type === 'search' ? 'input' : 'change')) })()"
    )


def chosen(page: Page, control: str) -> str:
    """What a control shows."""
    value: str = page.value(f"document.getElementById('by-{control}').value")
    return value


def press(page: Page, words: str) -> None:
    """Press the button of the explorer with these words."""
    found = "[...document.querySelectorAll('#explore-section button')]"
    page.value(f"{found}.find((e) => e.innerText.trim() === {words!r}).click()")


def status(page: Page) -> str:
    """What the line above the chart says, in one line."""
    return " ".join(page.value(STATUS).split())


def case(page: Page) -> str:
    """The words of the card, once the chart has handled all events; empty if it is hidden."""
    page.frame()
    text: str = page.value(f"{CASE}.hidden ? '' : {CASE}.innerText")
    return " ".join(text.split())


def drawn(page: Page) -> Sequence[Sequence[str]]:
    """Editor and grade of every drawn case."""
    sets = "Chart.getChart('chart').data.datasets.flatMap(({ data }) => data)"
    found: Sequence[Sequence[str]] = page.value(
        f"{sets}.map(({{ one }}) => [one.editor, one.grade])"
    )
    return found
