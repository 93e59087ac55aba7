"""Adds the results of the two papers to a study's own tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from editcore.report.data import ReportData
from editcore.report.papers import published_figures
from editcore.report.papers.published import compared
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table

# By section of the report: its published tables, and its figures drawn from published points.
TABLES = {
    "pilot": ("pilot", "single", "abilities", "worst"),
    "surrogate": ("surrogate",),
    "hard-cases": ("hard-cases",),
    "weight-change": ("weight-change",),
    "sequences": ("sequences", "after-sequence"),
    "updates": ("updates", "perplexities", "positions"),
    "keys": ("keys",),
    "prompting": ("prompting",),
}
FIGURES: dict[str, Callable[[], list[Drawing]]] = {
    "pilot": published_figures.pilot,
    "surrogate": published_figures.surrogate,
    "sequences": published_figures.sequences,
}


def with_papers(study: ReportData, sections: Sequence[PageSection]) -> list[PageSection]:
    """The sections, each followed by the papers' tables and figures for it.

    A section gets none if the study has no results to compare with its published tables.
    """
    return [_with_papers(study, section) for section in sections]


def _with_papers(study: ReportData, section: PageSection) -> PageSection:
    tables = compared_tables(study, *TABLES.get(section.anchor, ()))
    if not tables:
        return section
    drawings = FIGURES[section.anchor]() if section.anchor in FIGURES else []
    return replace(
        section,
        drawings=(*section.drawings, *drawings),
        tables=(*section.tables, *tables),
    )


def compared_tables(study: ReportData, *names: str) -> tuple[Table, ...]:
    """The compared tables for which the study has results."""
    found = (compared(study, name) for name in names)
    return tuple(table for table in found if table is not None)
