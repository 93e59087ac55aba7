"""How a judge's scores of free answers agree with exact match, by model, editor and question."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from editcore.numbers import count, plural, share
from editcore.records.answer_schemas import CONTEXTS, MEASURES
from editcore.text_table import text_table

GROUP = ("model", "editor", "dataset", "measure", "context")
# A score of this or more means right.
RIGHT = 0.5
NUMBERS = ("exact_match", "judged", "agreement", "exact_match_base", "judged_base")
HEADS = (
    *("model", "editor", "data set", "measure", "context", "n"),
    *("exact match", "judged", "agreement", "unedited: exact match", "unedited: judged"),
)


def agreement(answers: pl.DataFrame) -> pl.DataFrame:
    """One row per model, editor, data set, measure and context, in this order.

    `answers` are rows of the answer tables with the scores `judged` and `judged_base`. `n` counts
    the edited models' answers that were judged, and `n_base` the unedited ones'. The means of
    `exact_match` and `judged` are over the same answers. `agreement` is the share of them that both
    hold to be right or both to be wrong; a score of 0.5 or more means right. Means over no answers
    are null.
    """
    exact, judged = pl.col("exact_match"), pl.col("judged")
    exact_base, judged_base = pl.col("exact_match_base"), pl.col("judged_base")
    return (
        answers.group_by(GROUP)
        .agg(
            n=judged.count(),
            exact_match=exact.filter(judged.is_not_null()).mean(),
            judged=judged.mean(),
            agreement=((judged >= RIGHT) == (exact >= RIGHT)).mean(),
            n_base=judged_base.count(),
            exact_match_base=exact_base.filter(judged_base.is_not_null()).mean(),
            judged_base=judged_base.mean(),
        )
        .sort("model", "editor", "dataset", _rank("measure", MEASURES), _rank("context", CONTEXTS))
    )


def page(judge: str, answers: pl.DataFrame) -> str:
    """The table of `agreement` as text, and how many answers the judge could not judge."""
    parts = [text_table(HEADS, map(_cells, agreement(answers).to_dicts()))]
    if unjudged := sum(answers.select("judged", "judged_base").null_count().row(0)):
        parts.append(
            f"The judge {judge} gave no score for {unjudged:,} of "
            f"{plural(2 * len(answers), 'answer')}; no number above includes them."
        )
    return "\n\n".join(parts)


def _rank(column: str, order: Sequence[str]) -> pl.Expr:
    """The place of each value in `order`."""
    places = {name: place for place, name in enumerate(order)}
    return pl.col(column).replace_strict(places, default=len(places))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (*(row[name] for name in GROUP), count(row["n"]), *(share(row[n]) for n in NUMBERS))
