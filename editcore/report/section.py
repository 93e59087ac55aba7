"""A section of the report for one kind of results: a heading, text, figures and tables."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from matplotlib.figure import Figure

from editcore.report.data import ReportData
from editcore.report.tables import Table


@dataclass(frozen=True)
class Drawing:
    """A figure of a section: `name` is its file's, without ending; `words` describe it."""

    name: str
    words: str
    draw: Callable[[], Figure]


class Part(StrEnum):
    """The parts of the page after its first screen, in order, with their headings."""

    EDITS = "Single edits"
    STREAMS = "Sequential edits"
    TASKS = "Abilities"
    MECHANISM = "Why models collapse"
    RUN = "What was run"

    @property
    def anchor(self) -> str:
        """The id of the part's heading in the page."""
        return f"part-{self.name.lower()}"


@dataclass(frozen=True)
class PageSection:
    """The content under one heading; links use its `anchor`.

    `point` is what the section shows, in one computed sentence, and the first drawing shows the
    same; the rest are details.
    """

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    point: str = field(kw_only=True)
    part: Part = field(kw_only=True)


MOST_NAMED = 3
"""The models that a section's point names; others are counted."""

# None if the study has no such results.
MakeSection = Callable[[ReportData], PageSection | None]
