"""The sections after those of single edits, in the order of the page."""

from editcore.report.data import ReportData
from editcore.report.section import MakeSection, PageSection
from editcore.report.sections import (
    answers,
    arena,
    depth,
    diagnostics,
    hard_cases,
    keys,
    layers,
    pilot,
    prompting,
    surrogate,
    treated,
    updates,
    warning,
    weight_change,
)
from editcore.report.sections.sequences import section as sequences

SECTIONS: tuple[MakeSection, ...] = (
    arena.section,
    answers.section,
    depth.section,
    pilot.section,
    surrogate.section,
    hard_cases.section,
    weight_change.section,
    sequences.section,
    treated.section,
    warning.section,
    layers.section,
    updates.section,
    keys.section,
    prompting.section,
    diagnostics.section,
)


def sections(study: ReportData) -> list[PageSection]:
    """The sections for which the study has results."""
    made = (make(study) for make in SECTIONS)
    return [section for section in made if section is not None]
