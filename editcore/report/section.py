"""A part of the report that one kind of results brings: a heading, words, figures and tables."""

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
    """The content of one heading; links name it by its `anchor`."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()


# None where the study has no such results.
MakeSection = Callable[[ReportData], PageSection | None]
