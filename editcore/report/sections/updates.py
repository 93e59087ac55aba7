"""The section on updates: numerators, denominators and perplexity by implementation."""

import polars as pl

from editcore.numbers import number, real, share
from editcore.records.mechanism_schemas import POSITIONS_JUDGED, SHARED, UPDATES_JUDGED
from editcore.report.data import ReportData
from editcore.report.papers.published import beside
from editcore.report.section import PageSection
from editcore.report.tables import Table

QUANTITIES = {
    "subject_position": "subject’s position",
    "subject_tokens": "subject’s tokens",
    "token_frequency": "frequency of its last token",
    "denominator": "|denominator|",
}


def section(study: ReportData) -> PageSection | None:
    """Which update each implementation makes of the same v*, and what it does to the model."""
    updates = study.table("mechanism-updates", UPDATES_JUDGED)
    shared = study.table("mechanism-shared", SHARED)
    positions = study.table("mechanism-positions", POSITIONS_JUDGED)
    if updates is None or shared is None or positions is None:
        return None
    return PageSection(
        "updates",
        "Why: inconsistent keys",
        (
            "The same v* of the same cases, bound by every implementation: mixed keys take the "
            "mean over prefixes for the direction and the bare key in the equation, prefixed the "
            "mean in both places, unprefixed the bare key in both; each with C and without.",
            "The last tables ask whether the first token is strange because of its position "
            "embedding: collapse cases are edited with their first token at the second position, "
            "and normal ones with the subject’s second token at the first. With rotary positions "
            "the rotation is what changes, and a token that attends to itself alone cannot notice.",
        ),
        (),
        (
            *beside(study, "updates"),
            _denominators(updates),
            *beside(study, "perplexities"),
            _perplexities(updates),
            _shared(shared),
            *beside(study, "positions"),
            _positions(positions),
        ),
    )


def _denominators(updates: pl.DataFrame) -> Table:
    heads = (
        *("model", "keys", "cases", "n", "mean |numerator|", "s.d."),
        *("mean |denominator|", "s.d.", "median"),
    )
    rows = []
    keys = ["model", "strategy", "cases"]
    with_moment = updates.filter(pl.col("second_moment"))
    for (model, strategy, cases), group in with_moment.group_by(keys, maintain_order=True):
        above, below = group["numerator_norm"], group["denominator"]
        numbers = (above.mean(), above.std(), below.mean(), below.std(), below.median())
        shown = tuple(number(real(value)) for value in numbers)
        rows.append((str(model), str(strategy), str(cases), f"{len(group):,}", *shown))
    caption = "Norm of the numerator and |denominator| with C, its direction of unit length."
    return Table(caption, heads, tuple(sorted(rows)), 3)


def _perplexities(updates: pl.DataFrame) -> Table:
    heads = ("model", "keys", "C", "cases", "n", "collapsed", "mean", "greatest", "unedited")
    rows = []
    keys = ["model", "strategy", "second_moment", "cases"]
    for (model, strategy, moment, cases), group in updates.group_by(keys, maintain_order=True):
        rows.append(
            (
                str(model),
                str(strategy),
                "with" if moment else "without",
                str(cases),
                f"{len(group):,}",
                f"{group['collapsed'].sum():,}",
                number(real(group["perplexity"].mean())),
                number(real(group["perplexity"].max())),
                number(real(group["perplexity_base"].max())),
            )
        )
    return Table("Perplexity of the edited models.", heads, tuple(sorted(rows)), 4)


def _shared(shared: pl.DataFrame) -> Table:
    heads = ("model", "quantity", "mean, collapsed", "mean, others", "n", "collapsed", "area")
    rows = [
        (
            row["model"],
            QUANTITIES[row["quantity"]],
            number(row["mean_collapsed"]),
            number(row["mean_others"]),
            f"{row['n_collapsed'] + row['n_others']:,}",
            f"{row['n_collapsed']:,}",
            share(row["auc"]),
        )
        for row in shared.iter_rows(named=True)
    ]
    caption = (
        "What the cases share that collapse the model under mixed keys with C. “Area”: how often "
        "such a case has less of the quantity than another one (ties count half)."
    )
    return Table(caption, heads, tuple(rows), 2)


def _positions(positions: pl.DataFrame) -> Table:
    heads = (
        *("model", "cases", "position", "n", "cosine to own key"),
        *("mean |denominator|", "least", "mean", "greatest", "collapsed"),
    )
    rows = []
    keys = ["model", "cases", "swapped"]
    for (model, cases, swapped), group in positions.group_by(keys, maintain_order=True):
        perplexity = group["perplexity"]
        numbers = (
            group["key_cosine"].mean(),
            group["denominator"].mean(),
            perplexity.min(),
            perplexity.mean(),
            perplexity.max(),
        )
        rows.append(
            (
                str(model),
                str(cases),
                "swapped" if swapped else "its own",
                f"{len(group):,}",
                *(number(real(value)) for value in numbers),
                f"{group['collapsed'].sum():,}",
            )
        )
    caption = (
        "Perplexity with the subject at its own position and at the other one, mixed keys with C. "
        "Cases whose subject does not end at the first position (collapse) or the second (normal) "
        "do not take part."
    )
    return Table(caption, heads, tuple(rows), 3)
