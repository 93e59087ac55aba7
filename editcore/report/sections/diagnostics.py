"""The section on what editors and their transforms report of their edits."""

from collections.abc import Iterator, Sequence
from statistics import median

import polars as pl

from editcore.editing.diagnostics import from_json
from editcore.numbers import listed, number, plural
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.section import PageSection, Part
from editcore.report.tables import Table

SINGLE, SEQUENCE = "single edits", "steps of sequences"
MOST = 5  # editors named in the section’s point


def section(study: ReportData) -> PageSection | None:
    """A table of the reported numbers; None if no editor reports any."""
    rows = [row for source, made in _sources(study) for row in _rows(study, source, made)]
    if not rows:
        return None
    heads = ("model", "editor", "of", "number", "edits", "median", "least", "greatest")
    caption = (
        "Numbers that editors report, where they are finite. One after a dot is that of the layer."
    )
    return PageSection(
        anchor="diagnostics",
        title="What editors say of their edits",
        part=Part.RUN,
        point=point(rows),
        paragraphs=(
            "What editors, their wrappers and their transforms know of making an edit, besides "
            "what all editors have in common. The numbers of different editors cannot be compared.",
        ),
        tables=(Table(caption, heads, tuple(rows), 4),),
    )


def point(rows: Sequence[tuple[str, ...]]) -> str:
    """Which editors report how many numbers of their own.

    >>> point([("small", "a", "single edits", "rank"), ("large", "a", "single edits", "rank")])
    'On how an edit was made, a reports 1 number of its own.'
    >>> point([("small", "a", "single edits", "rank"), ("small", "b", "single edits", "gap")])
    'On how an edit was made, a and b report 2 numbers of their own.'
    """
    editors = [*dict.fromkeys(row[1] for row in rows)]
    numbers = plural(len({(row[1], row[3]) for row in rows}), "number")
    report, their = ("reports", "its") if len(editors) == 1 else ("report", "their")
    return f"On how an edit was made, {listed(editors, MOST)} {report} {numbers} of {their} own."


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
