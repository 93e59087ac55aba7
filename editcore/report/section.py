"""A section of the report for one kind of results: a heading, text, figures and tables."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from editcore.report.data import ReportData
from editcore.report.tables import Table


@dataclass(frozen=True)
class Drawing:
    """A figure of a section: `name` is its file's, without ending; `words` describe it."""

    name: str
    words: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class PageSection:
    """The content under one heading; links use its `anchor`."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()


# None if the study has no such results.
MakeSection = Callable[[ReportData], PageSection | None]
