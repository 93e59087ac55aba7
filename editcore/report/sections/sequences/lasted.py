"""After how many edits in sequence each model collapsed, in one sentence."""

import polars as pl

from editcore.collapse.verdict import COLLAPSED
from editcore.numbers import listed, number, plural, times
from editcore.report.data import ReportData
from editcore.report.section import MOST_NAMED
from editcore.report.sections.sequences.rows import median, present

SEQUENCE = ["dataset", "batch", "arrangement", "order"]


def lasted(study: ReportData, rows: pl.DataFrame) -> str:
    """The editors that collapsed each model in sequences, the first one first, and the others."""
    told = [
        f"{model} {outcome({editor: of_one.filter(editor=editor) for editor in editors})}"
        for model in present(study, rows, "model")
        if (editors := present(study, of_one := rows.filter(model=model), "editor"))
    ]
    more = len(told) - MOST_NAMED
    parts = [*told[:MOST_NAMED], *([f"{plural(more, 'more model')} in the table"] * (more > 0))]
    return f"Edited in sequence, {'; '.join(parts)}."


def outcome(by_editor: dict[str, pl.DataFrame]) -> str:
    """What sequences by each editor did to one model, all data sets and seeds together.

    >>> rows = {"order": [0, 0, 1], "edits": [5, 10, 10], "grade": ["sound", "collapsed", "sound"]}
    >>> rows |= {"dataset": "hard", "batch": 1, "arrangement": "drawn", "step": [5, 10, 10]}
    >>> frame = pl.DataFrame(rows | {"perplexity_ratio": [1.0, 40.0, 1.5]})
    >>> outcome({"a": frame, "b": frame.head(1)})
    'collapsed after 10 edits by a (1 of 2 sequences), not within 5 by b (×1)'
    >>> outcome({"b": frame.head(1), "c": frame.tail(1)})
    'did not collapse within 5 edits by b (×1) and 10 by c (×1.50)'
    """
    gone: list[tuple[float, str]] = []
    kept: dict[float, list[str]] = {}
    for editor, rows in by_editor.items():
        first = rows.filter(grade=COLLAPSED).group_by(SEQUENCE).agg(pl.col("edits").min())["edits"]
        last = rows.group_by(SEQUENCE).agg(pl.col("edits").max())["edits"]
        if after := median(first):
            some = f" ({len(first)} of {plural(len(last), 'sequence')})"
            gone.append((after, editor + some * (len(first) < len(last))))
        else:
            kept.setdefault(median(last) or 0.0, []).append(editor + _ratio(rows))
    left = [(end, listed(names, MOST_NAMED, "more")) for end, names in kept.items()]
    ends = [*sorted(gone), *left]
    told = [
        f"{number(edits)}{'' if place else ' edit' if edits == 1 else ' edits'} by {editor}"
        for place, (edits, editor) in enumerate(ends)
    ]
    first_ones, others = told[: len(gone)], told[len(gone) :]
    if not gone:
        return f"did not collapse within {listed(others, MOST_NAMED)}"
    collapsed = f"collapsed after {listed(first_ones, MOST_NAMED, 'more editors')}"
    return f"{collapsed}, not within {listed(others, MOST_NAMED)}" if others else collapsed


def _ratio(rows: pl.DataFrame) -> str:
    """The perplexity ratio at the ends of sequences, in brackets."""
    known = rows.drop_nulls("perplexity_ratio").sort("step")
    ratio = median(
        known.group_by(SEQUENCE).agg(pl.col("perplexity_ratio").last())["perplexity_ratio"]
    )
    return "" if ratio is None else f" ({times(ratio)})"
