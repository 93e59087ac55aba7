"""The page of a test of the warning over several studies: its tables as Markdown."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import polars as pl

from editcore.collapse.backtest import ALL, FORECASTS, OTHERS, scores
from editcore.collapse.calibration import probability
from editcore.numbers import number, share
from editcore.summary.grade_check import FALL, HEADS, cells
from editcore.summary.left_out.run import Backtest
from editcore.text_table import text_table

# Probabilities between which edits are counted, to compare them with what happened.
EDGES = (0.0, 0.1, 0.5, 0.9, 1.0)
TESTED = ("edits", "with it", "area", "threshold", "recall", "precision", "false alarms")


def page(found: Backtest) -> str:
    """All tables, which can also be read in a terminal."""
    left_out = found.left_out.to_dicts()
    one = pl.concat(
        [found.table.filter(predictor=name, target=target) for target, name in FORECASTS.items()]
    )
    by_editor = one.filter(pl.col("calibrated_on") == OTHERS, pl.col("editor") != ALL)
    within = one.filter(
        pl.col("calibrated_on") == pl.col("tested_on"), pl.col("editor") == ALL, pl.col("n") > 0
    )
    parts = (
        "Fitted on all models but one, tested on that one:",
        text_table(
            ("target", "predictor", "left out", *TESTED, "of collapses"),
            [
                (
                    r["target"],
                    r["predictor"],
                    r["tested_on"],
                    *_tested(r),
                    share(r["recall_collapsed"]),
                )
                for r in left_out
            ],
        ),
        f"`{FORECASTS['harmed']}` for harm, by editor of the model that was left out:",
        text_table(
            ("left out", "editor", *TESTED),
            [
                (r["tested_on"], r["editor"], *_tested(r))
                for r in by_editor.filter(target="harmed").to_dicts()
            ],
        ),
        "The same two, fitted on one half of the model’s own edits and tested on the other half:",
        text_table(
            ("target", "model", *TESTED),
            [(r["target"], r["tested_on"], *_tested(r)) for r in within.to_dicts()],
        ),
        "Probability of harm of the edits of each model that was left out, and what happened:",
        text_table(("probability", "edits", "mean probability", "share harmed"), _bins(found)),
        *_grades(found),
    )
    return "\n\n".join(parts)


def _grades(found: Backtest) -> tuple[str, ...]:
    """How grades and task scores agree, if any study has both."""
    if not found.grades:
        return ()
    text = (
        "Grades against task scores: edited models that were graded as damaged or collapsed "
        f"(harmed), and those of which some score fell by more than {100 * FALL:.0f} points (lost):"
    )
    return text, text_table(HEADS, cells(found.grades))


def _tested(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['n']:,}",
        f"{row['n_hits']:,}",
        number(None) if row["auc"] is None else f"{row['auc']:.4f}",
        number(row["threshold"]),
        share(row["recall"]),
        share(row["precision"]),
        share(row["false_alarms"]),
    )


def _bins(found: Backtest) -> Iterable[tuple[str, ...]]:
    """How often edits with a probability in each interval did harm, all models together."""
    name = FORECASTS["harmed"]
    lines = found.left_out.filter(predictor=name, target="harmed").drop_nulls("slope")
    scored = scores(found.edits, name, "harmed")
    each = [
        (probability(row["intercept"], row["slope"], score), hit)
        for row in lines.to_dicts()
        for score, hit in scored.filter(model=row["tested_on"]).select("score", "hit").iter_rows()
    ]
    for low, high in pairwise(EDGES):
        last = high == EDGES[-1]
        inside = [pair for pair in each if low <= pair[0] and (pair[0] < high or last)]
        if inside:
            chances, hits = zip(*inside, strict=True)
            means = (share(sum(column) / len(inside)) for column in (chances, hits))
            yield (f"{low:.1f} to {high:.1f}", f"{len(inside):,}", *means)
