"""The section on updates: numerators, denominators and perplexity by implementation."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import number, real, share
from editcore.records.mechanism_schemas import POSITIONS_JUDGED, SHARED, UPDATES_JUDGED
from editcore.report.data import ReportData
from editcore.report.section import PageSection
from editcore.report.tables import Table

HARMED = (DAMAGED, COLLAPSED)
QUANTITIES = {
    "subject_position": "subject’s position",
    "subject_tokens": "subject’s tokens",
    "token_frequency": "frequency of its last token",
    "denominator": "|denominator|",
}


def section(study: ReportData) -> PageSection | None:
    """The update of each implementation for the same v*, and its effect on the model."""
    updates = study.table("mechanism-updates", UPDATES_JUDGED)
    shared = study.table("mechanism-shared", SHARED)
    positions = study.table("mechanism-positions", POSITIONS_JUDGED)
    if updates is None or shared is None or positions is None:
        return None
    return PageSection(
        "updates",
        "Why: inconsistent keys",
        (
            "All implementations insert the same v* of the same cases. Mixed keys: the mean over "
            "prefixes for the direction and the bare key in the equation. Prefixed: the mean key "
            "in both places. Unprefixed: the bare key in both. Each is made with and without C.",
            "The last table shows whether the first token is special because of its position "
            "embedding: collapse cases are edited with their first token at the second position, "
            "and normal ones with the subject’s second token at the first. With rotary positions, "
            "only the rotation changes, which does not affect a token that attends only to itself.",
        ),
        (),
        (
            _denominators(updates),
            _perplexities(updates),
            _shared(shared),
            _positions(positions),
        ),
    )


def _grouped(
    rows: pl.DataFrame,
    by: Sequence[str],
    cells: Callable[[pl.DataFrame], Sequence[str]],
    words: Mapping[bool, str] = MappingProxyType({}),
) -> tuple[tuple[str, ...], ...]:
    """A row of cells per group, in order: its names, its number of rows, and its `cells`.

    `words` replace booleans among the names of a group.
    """
    return tuple(
        sorted(
            (*(str(words.get(name, name)) for name in names), f"{len(group):,}", *cells(group))
            for names, group in rows.group_by(by, maintain_order=True)
        )
    )


def _numbers(*values: Any) -> tuple[str, ...]:
    return tuple(number(real(value)) for value in values)


def _denominators(updates: pl.DataFrame) -> Table:
    heads = (
        *("model", "keys", "cases", "n", "mean |numerator|", "s.d."),
        *("mean |denominator|", "s.d.", "median"),
    )

    def cells(group: pl.DataFrame) -> Sequence[str]:
        above, below = group["numerator_norm"], group["denominator"]
        return _numbers(above.mean(), above.std(), below.mean(), below.std(), below.median())

    with_moment = updates.filter(pl.col("second_moment"))
    rows = _grouped(with_moment, ("model", "strategy", "cases"), cells)
    caption = "Norm of the numerator, and |denominator| with C and a direction of unit length."
    return Table(caption, heads, rows, 3)


def _perplexities(updates: pl.DataFrame) -> Table:
    heads = ("model", "keys", "C", "cases", "n", *HARMED, "mean", "greatest", "unedited")

    def cells(group: pl.DataFrame) -> Sequence[str]:
        perplexity, base = group["perplexity"], group["perplexity_base"]
        return *_harmed(group), *_numbers(perplexity.mean(), perplexity.max(), base.max())

    by = ("model", "strategy", "second_moment", "cases")
    rows = _grouped(updates, by, cells, {True: "with", False: "without"})
    return Table("Perplexity of the edited models.", heads, rows, 4)


def _harmed(group: pl.DataFrame) -> tuple[str, ...]:
    """The numbers of edits of the grades in `HARMED`."""
    return tuple(f"{(group['grade'] == grade).sum():,}" for grade in HARMED)


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
        "Quantities of the cases that collapse the model with mixed keys and C, and of the others. "
        "“Area”: how often a collapsing case has a smaller value than another (ties count half)."
    )
    return Table(caption, heads, tuple(rows), 2)


def _positions(positions: pl.DataFrame) -> Table:
    heads = (
        *("model", "cases", "position", "n", "cosine to own key"),
        *("mean |denominator|", "least", "mean", "greatest", *HARMED),
    )

    def cells(group: pl.DataFrame) -> Sequence[str]:
        perplexity = group["perplexity"]
        means = group["key_cosine"].mean(), group["denominator"].mean()
        found = _numbers(*means, perplexity.min(), perplexity.mean(), perplexity.max())
        return *found, *_harmed(group)

    by = ("model", "cases", "swapped")
    rows = _grouped(positions, by, cells, {True: "swapped", False: "its own"})
    caption = (
        "Perplexity with the subject at its own position and at the other one, with mixed keys and "
        "C. Cases whose subject does not end at the first (collapse) or second position (normal) "
        "are excluded."
    )
    return Table(caption, heads, rows, 3)
