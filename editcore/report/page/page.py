"""The HTML page: a single file that needs no other."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from editcore.atomic import write_text
from editcore.numbers import number, times
from editcore.report.data import ReportData
from editcore.report.drawing import cause
from editcore.report.page import cases, edits, explorer, overview
from editcore.report.page.grid import grid, legend
from editcore.report.page.shown import Body, shown
from editcore.report.page.terms import Explainer
from editcore.report.section import PageSection, Part
from editcore.report.templates import templates

STYLES = ("page.css", "first.css", "menu.css", "explore.css")
# Shorter labels stay on one line.
MOST_LETTERS = 22
# A longer grid scrolls; more figures of models are folded.
MOST_ROWS = 12
MOST_CAUSES = 4


def write(
    path: Path,
    study: ReportData,
    first: PageSection,
    sections: Sequence[PageSection] = (),
    drawn: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Render the page and write it atomically.

    `first` is the first screen; `drawn` are the files of all figures of it and of the sections.
    """
    environment = templates(Path(__file__).parent)
    terms = Explainer()
    environment.filters["explained"] = terms.explained
    environment.globals.update(
        number=number,
        times=times,
        position=cases.position,
        infinite=math.inf,
        most_letters=MOST_LETTERS,
        most_rows=MOST_ROWS,
        most_causes=MOST_CAUSES,
        file=file,
        styles=STYLES,
        explore_js=explorer.script(),
        cases_file=explorer.cases_file(study, path),
    )
    lists = environment.get_template("cases.html.jinja").render(
        worst=[cases.in_words(row) for row in cases.worst_cases(study).iter_rows(named=True)],
        collapsed=cases.collapsed(study),
        damaged=cases.damaged(study),
    )
    own = edits.sections(study)
    bodies = {edits.PERPLEXITY: Body("the worst edits and all harmed cases", Markup(lists))}
    every = (*own, *sections, overview.section(study))
    parts = [
        (part, [shown(each, drawn, bodies) for each in every if each.part == part]) for part in Part
    ]
    page = environment.get_template("page.html.jinja").render(
        first=shown(first, drawn),
        cause=cause.quantity(study),
        grid=grid(study),
        legend=legend(study.collapse),
        cases=explorer.data(study),
        parts=[(part, sections) for part, sections in parts if sections],
        terms=terms.used,
    )
    write_text(path, page)


def file(name: str) -> Markup:
    """A file of this folder, unchanged: style, script or licence."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))
