"""The findings on sequences of edits, as sentences."""

import polars as pl

from editcore.collapse.verdict import COLLAPSED
from editcore.numbers import listed, number
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.sections.sequences.rows import median, places, present


def in_sequence(study: ReportData) -> list[str]:
    """After how many edits in sequence each model collapsed, a sentence for each kind of facts."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None or rows.is_empty():
        return []
    return [
        lasted(model, facts, {editor: of_one.filter(editor=editor) for editor in editors})
        for model in present(study, rows, "model")
        for facts, of_one in places(study, rows.filter(model=model)).items()
        if (editors := present(study, of_one, "editor"))
    ]


def lasted(model: str, facts: str, by_editor: dict[str, pl.DataFrame]) -> str:
    """After how many edits a model collapsed by each editor, as a median over its sequences.

    >>> rows = {"order": [0, 0, 1], "edits": [5, 10, 10], "grade": ["sound", "collapsed", "sound"]}
    >>> frame = pl.DataFrame(rows)
    >>> lasted("small", "hard", {"a": frame, "b": frame.head(1), "c": frame.head(1)})
    'In sequences (hard), small collapsed after 10 edits by a (1 of 2), not within 5 by b and c.'
    """
    gone: list[tuple[float, str]] = []
    left: dict[int, list[str]] = {}
    for editor, rows in by_editor.items():
        first = rows.filter(grade=COLLAPSED).group_by("order").agg(pl.col("edits").min())["edits"]
        every = rows["order"].n_unique()
        if after := median(first):
            some = f" ({len(first)} of {every})" if len(first) < every else ""
            gone.append((after, f"{editor}{some}"))
        else:
            left.setdefault(max(rows["edits"]), []).append(editor)
    parts = [
        f"after {number(after)}{'' if place else ' edits'} by {editor}"
        for place, (after, editor) in enumerate(sorted(gone))
    ]
    kept = [f"within {longest:,} by {listed(some)}" for longest, some in left.items()]
    if not gone:
        return f"In sequences ({facts}), {model} did not collapse {', '.join(kept)}."
    parts += [f"not {words}" for words in kept]
    return f"In sequences ({facts}), {model} collapsed {', '.join(parts)}."
