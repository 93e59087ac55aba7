"""The findings on sequences of edits, as sentences."""

from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.sections.sequences.lasted import lasted


def in_sequence(study: ReportData) -> list[str]:
    """After how many edits in sequence each model collapsed; no sentence without sequences."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    return [] if rows is None or rows.is_empty() else [lasted(study, rows)]
