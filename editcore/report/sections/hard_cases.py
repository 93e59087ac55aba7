"""What the prompts of edits that collapsed a model have in common: where the subject is."""

from collections.abc import Iterator

import polars as pl

from editcore.numbers import MISSING, in_percent, number, plural, real
from editcore.report.data import ReportData
from editcore.report.section import PageSection, Part
from editcore.report.tables import Table

OUTCOMES = {True: "collapsed", False: "not collapsed"}
OPENS = pl.col("subject_start") == 0


def section(study: ReportData) -> PageSection | None:
    """Subjects of edits that collapsed a model, and of the others; None if none collapsed."""
    judged = study.made().drop_nulls(["collapsed", "subject_start"])
    if not judged["collapsed"].any():
        return None
    heads = ("model", "editor", "outcome", "edits", "subject first", "one token", "mean tokens")
    caption = (
        "Subjects by outcome, for editors that collapsed a model: the share that open the prompt, "
        "and their tokens."
    )
    table = Table(caption, heads, tuple(_rows(study, judged)), 3)
    return PageSection(
        anchor="hard-cases",
        title="Hard cases",
        part=Part.EDITS,
        point=point(judged),
        paragraphs=("The edits themselves are in summary/cases.parquet, with their prompts.",),
        tables=(table,),
    )


def point(judged: pl.DataFrame) -> str:
    """How often the subject opens the prompt of edits that collapsed a model, and of the others.

    >>> rows = {"collapsed": [True, True, False, False], "subject_start": [0, 0, 0, 13]}
    >>> print(point(pl.DataFrame(rows)))
    The subject opens the prompt in 100 % of 2 edits that collapsed a model, and in 50 % of others.
    >>> print(point(pl.DataFrame(rows).head(1)))
    The subject opens the prompt in 100 % of 1 edit that collapsed a model; there are no others.
    """
    gone, others = judged.filter("collapsed"), judged.filter(~pl.col("collapsed"))
    start = (
        f"The subject opens the prompt in {_opening(gone)} of {plural(len(gone), 'edit')} that "
        "collapsed a model"
    )
    if others.is_empty():
        return f"{start}; there are no others."
    return f"{start}, and in {_opening(others)} of others."


def _opening(rows: pl.DataFrame) -> str:
    return _of(rows.filter(OPENS).height, rows)


def _of(some: int, rows: pl.DataFrame) -> str:
    return in_percent(some / len(rows)) if len(rows) else MISSING


def _rows(study: ReportData, judged: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    for model in study.models:
        for editor in study.editors:
            made = judged.filter(model=model, editor=editor)
            if not made["collapsed"].any():
                continue
            for outcome, words in OUTCOMES.items():
                some = made.filter(collapsed=outcome)
                single = some.filter(subject_tokens=1).height
                yield (
                    *(model, editor, words, f"{len(some):,}"),
                    *(_opening(some), _of(single, some)),
                    number(real(some["subject_tokens"].mean())),
                )
