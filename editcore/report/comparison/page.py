"""The page that compares finished studies: a single file that needs no other."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from editcore.atomic import write_text
from editcore.report.drawing.figures import save
from editcore.report.drawing.paired import draw
from editcore.report.drawing.style import drawing
from editcore.report.page.inline import inline
from editcore.report.templates import templates
from editcore.summary.compared import cells
from editcore.summary.compared.cells import Cells
from editcore.summary.compared.comparison import Comparison
from editcore.summary.compared.groups import Group

STYLE = Path(__file__).parent.parent / "page" / "page.css"
# Longer tables are folded; of the cases that moved in a group, no more than these are named.
MOST_ROWS, MOST_CASES = 12, 200
# Shorter texts in cells stay on one line.
MOST_LETTERS = 22
# After the overview, the cases that moved and the figure.
TABLES = (
    *(cells.settings, cells.means, cells.quantities),
    *(cells.sequences, cells.tasks, cells.costs_of),
)


@dataclass(frozen=True)
class MovedGroup:
    """A group of which cases moved: from which grades to which, and the cases, worst first."""

    name: str
    count: int
    matrix: Cells
    cases: Cells
    omitted: int


@dataclass(frozen=True)
class Section:
    """One study against the first, as the template shows it."""

    comparison: Comparison
    overview: Cells
    moved: Sequence[MovedGroup]
    figure: Markup
    tables: Sequence[Cells]


def write(path: Path, found: Sequence[Comparison]) -> None:
    """Render the page of some comparisons with one first study, and write it atomically."""
    environment = templates(Path(__file__).parent)
    shown = {
        "css": Markup(STYLE.read_text(encoding="utf-8")),
        "first": found[0].old.name,
        "outcomes": cells.outcomes(found) if len(found) > 1 else None,
        "sections": [_section(each, number) for number, each in enumerate(found)],
        "most_rows": MOST_ROWS,
        "most_letters": MOST_LETTERS,
    }
    write_text(path, environment.get_template("comparison.html.jinja").render(shown))


def _section(found: Comparison, number: int) -> Section:
    return Section(
        found,
        cells.overview(found),
        [_moved(group) for group in found.groups if group.moved],
        _figure(found, number),
        [table for make in TABLES if (table := make(found)).rows],
    )


def _moved(group: Group) -> MovedGroup:
    table = cells.moved(group)
    count = len(table.rows)
    short = Cells(table.caption, table.heads, table.rows[:MOST_CASES], table.labels)
    return MovedGroup(group.name, count, cells.matrix(group), short, count - len(short.rows))


def _figure(found: Comparison, number: int) -> Markup:
    words = (
        f"Perplexity ratio of each case in {found.old.name} (across) and {found.new.name} (up), "
        "both logarithmic, with the diagonal of equal values."
    )
    with drawing(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "paired.svg"
        save(draw(found.joined.cases), file)
        return Markup(inline(file.read_text(encoding="utf-8"), f"c{number}", words))
