"""The sections of the page, in its order: those of one part are next to each other."""

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
    pilot.section,
    arena.section,
    hard_cases.section,
    answers.section,
    prompting.section,
    depth.section,
    treated.section,
    sequences.section,
    surrogate.section,
    updates.section,
    keys.section,
    layers.section,
    weight_change.section,
    warning.section,
    diagnostics.section,
)


def sections(study: ReportData) -> list[PageSection]:
    """The sections for which the study has results."""
    made = (make(study) for make in SECTIONS)
    return [section for section in made if section is not None]
