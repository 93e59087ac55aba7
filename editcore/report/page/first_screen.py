"""The first screen as a section: headline, notes to read first, and the figure of the cause."""

from collections.abc import Sequence

from editcore.datasets.invented_world import notes
from editcore.report.data import ReportData
from editcore.report.drawing import cause
from editcore.report.page.headline import headline
from editcore.report.section import PageSection, Part


def first_screen(study: ReportData, sections: Sequence[PageSection]) -> PageSection:
    """The summary of a study that has these other sections."""
    sequences = next((each.point for each in sections if each.part == Part.STREAMS), "")
    shown = cause.quantity(study)
    return PageSection(
        "summary",
        "Summary",
        tuple(notes(study.config)),
        () if shown is None else cause.drawings(study, shown),
        point=headline(study, sequences),
        part=Part.EDITS,
    )
