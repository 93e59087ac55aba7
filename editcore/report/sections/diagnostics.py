"""The section on what editors and their transforms report of their edits."""

from collections.abc import Iterator
from statistics import median

import polars as pl

from editcore.editing.diagnostics import from_json
from editcore.numbers import number
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.section import PageSection
from editcore.report.tables import Table

SINGLE, SEQUENCE = "single edits", "steps of sequences"


def section(study: ReportData) -> PageSection | None:
    """A table of the reported numbers; None if no editor reports any."""
    rows = [row for source, made in _sources(study) for row in _rows(study, source, made)]
    if not rows:
        return None
    heads = ("model", "editor", "of", "number", "edits", "median", "least", "greatest")
    caption = (
        "Each number by its editor’s own name for it, over the edits for which it is finite. A "
        "number after a dot is that of the layer."
    )
    words = (
        "What editors, their wrappers and their transforms know of making an edit, besides what "
        "all editors have in common. The numbers of different editors cannot be compared.",
    )
    table = Table(caption, heads, tuple(rows), 4)
    return PageSection("diagnostics", "What editors say of their edits", words, (), (table,))


def _sources(study: ReportData) -> Iterator[tuple[str, pl.DataFrame]]:
    """Single edits, and the steps of sequences if there are any."""
    yield SINGLE, study.made()
    sequences = study.table("sequences", SEQUENCES_JUDGED)
    if sequences is not None:
        yield SEQUENCE, sequences


def _rows(study: ReportData, source: str, made: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """Number, median and range of each diagnostic, by model and editor in the config's order."""
    told = made.filter(pl.col("diagnostics").is_not_null())
    for model in study.models:
        for editor in study.editors:
            found: dict[str, list[float]] = {}
            for text in told.filter(model=model, editor=editor)["diagnostics"]:
                for name, value in from_json(text).items():
                    found.setdefault(name, []).extend([] if value is None else [value])
            for name, values in sorted(found.items()):
                middle = median(values) if values else None
                ends = min(values, default=None), max(values, default=None)
                numbers = map(number, (middle, *ends))
                yield model, editor, source, name, f"{len(values):,}", *numbers
