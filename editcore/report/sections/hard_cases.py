"""Hard cases next to normal ones: where the subject is, and how many tokens it has."""

import polars as pl

from editcore.numbers import number, times
from editcore.report.data import ReportData
from editcore.report.section import PageSection
from editcore.report.tables import Table

EXAMPLES = 3


def section(study: ReportData) -> PageSection | None:
    """Examples of edits that collapsed a model, and of edits by the same editor that did not."""
    rows = [
        row
        for model in study.models
        for editor in study.editors
        for row in _contrast(study, model, editor)
    ]
    if not rows:
        return None
    heads = (
        "model",
        "editor",
        "prompt",
        "old → new",
        "effect",
        "perplexity",
        "rise",
        "subject at",
        "tokens",
    )
    caption = (
        "The worst edits, and the mildest ones by the same editor. “Subject at” is the number of "
        "characters before the subject."
    )
    words = ("Cases that collapsed a model, compared with cases that did not.",)
    examples = Table(caption, heads, tuple(rows), 5)
    return PageSection("hard-cases", "Hard cases", words, (), (examples,))


def _contrast(study: ReportData, model: str, editor: str) -> list[tuple[str, ...]]:
    cases = study.made(model=model, editor=editor).drop_nulls(["perplexity_ratio", "collapsed"])
    order = ["perplexity_ratio", "dataset", "case_id"]
    hard = cases.filter(pl.col("collapsed")).sort(order, descending=[True, False, False])
    mild = cases.filter(~pl.col("collapsed")).sort(order)
    if hard.is_empty():
        return []
    chosen = [*hard.head(EXAMPLES).to_dicts(), *mild.head(EXAMPLES).to_dicts()]
    return [
        (
            model,
            editor,
            row["prompt"].replace("{}", f"[{row['subject']}]"),
            f"{row['target_true']} → {row['target_new']}",
            "collapsed" if row["collapsed"] else "stable",
            number(row["perplexity"]),
            times(row["perplexity_ratio"]),
            number(row["subject_start"]),
            number(row["subject_tokens"]),
        )
        for row in chosen
    ]
