"""A section as the page shows it: its point and first figure, with everything else folded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from editcore.numbers import listed, plural
from editcore.report.page.inline import inline
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table

# Figures wider than this (in points) take the width of the page.
MOST_POINTS_WIDE = 400
# Of the captions, the summary of what is folded repeats the first few that are short.
LONGEST_NAME, MOST_NAMES = 80, 3


@dataclass(frozen=True)
class FigureOnPage:
    """A figure as markup, the words that describe it, and the file with the same figure."""

    svg: Markup
    words: str
    file: str

    @property
    def wide(self) -> bool:
        """Whether it scrolls sideways on a phone, so that its text stays legible."""
        box = re.search(r'viewBox="\S+ \S+ ([\d.]+)', self.svg)
        return box is not None and float(box[1]) > MOST_POINTS_WIDE


@dataclass(frozen=True)
class Body:
    """What only one section contains, as markup, and what that is in a few words."""

    words: str
    markup: Markup


@dataclass(frozen=True)
class Shown:
    """A section with its figures as markup."""

    section: PageSection
    figures: tuple[FigureOnPage, ...]
    tables: tuple[Table, ...]
    body: Body | None

    @property
    def inside(self) -> str:
        """What is folded: the numbers of tables and figures, and what they are about."""
        figures = len(self.figures) - 1
        counted = [
            plural(len(self.tables), "table") if self.tables else "",
            plural(figures, "figure") if figures > 0 else "",
            self.body.words if self.body else "",
        ]
        counts = listed([words for words in counted if words]) or "Details"
        captions = [_first_sentence(table.caption) for table in self.tables]
        names = [caption for caption in captions if len(caption) <= LONGEST_NAME]
        more = "…" if len(names) > MOST_NAMES else ""
        return f"{counts}: {'; '.join(names[:MOST_NAMES])}{more}" if names else counts

    @property
    def folds(self) -> bool:
        """Whether there is anything besides the point and the first figure."""
        return bool(self.section.paragraphs or self.tables or self.body or len(self.figures) > 1)


def shown(
    section: PageSection,
    drawn: Mapping[str, Path],
    bodies: Mapping[str, Body] = MappingProxyType({}),
) -> Shown:
    """A section with its figures from the files in `drawn`, and its body by its anchor, if any."""
    return Shown(
        section,
        tuple(_figure(drawing, drawn) for drawing in section.drawings),
        tuple(table for table in section.tables if table.rows),
        bodies.get(section.anchor),
    )


def _first_sentence(text: str) -> str:
    """The first sentence, without its full stop.

    >>> _first_sentence("As Yang et al. (2024) define it. In nats.")
    'As Yang et al. (2024) define it'
    """
    return re.split(r"\.\s+(?=[A-Z“|])", text)[0].rstrip(".")


def _figure(drawing: Drawing, drawn: Mapping[str, Path]) -> FigureOnPage:
    file = drawn[drawing.name]
    # The page repeats the prefix at every point, so it is short.
    prefix = f"f{list(drawn).index(drawing.name)}"
    svg = inline(file.read_text(encoding="utf-8"), prefix, drawing.words)
    return FigureOnPage(Markup(svg), drawing.words, file.name)
