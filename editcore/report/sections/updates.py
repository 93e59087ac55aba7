"""The section on updates: numerators, denominators and perplexity by implementation."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import number, real, share
from editcore.records.mechanism_schemas import (
    COLLAPSE,
    POSITIONS_JUDGED,
    SHARED,
    STRATEGIES,
    UPDATES_JUDGED,
)
from editcore.report.data import ReportData
from editcore.report.section import MOST_NAMED, PageSection, Part
from editcore.report.tables import Table

MIXED = STRATEGIES[0]
SWAPPED = f"{MIXED}, swapped"
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
        anchor="updates",
        title="Inconsistent keys",
        part=Part.MECHANISM,
        point=point(study, updates),
        paragraphs=(
            "All implementations insert the same v* of the same cases. Mixed keys: the mean over "
            "prefixes for the direction and the bare key in the equation. Prefixed: the mean key "
            "in both places. Unprefixed: the bare key in both. With rotary positions, a swap of "
            "positions only rotates keys, which does not affect a token that attends only to "
            "itself. Each edit is in summary/mechanism-updates.parquet and "
            "summary/mechanism-positions.parquet.",
        ),
        tables=(by_keys(updates, positions), _shared(shared)),
    )


def point(study: ReportData, updates: pl.DataFrame) -> str:
    """How many collapse cases collapse each model with mixed keys, and with one key."""
    cases = updates.filter(pl.col("second_moment"), pl.col("collapsed").is_not_null())
    cases = cases.filter(cases=COLLAPSE)
    parts = []
    for model in study.models:
        of_model = cases.filter(model=model)
        mixed = of_model.filter(strategy=MIXED)
        others = of_model.filter(pl.col("strategy") != MIXED)
        if mixed.is_empty() or others.is_empty():
            continue
        (some, small), (rest, large) = (
            (
                f"{each['collapsed'].sum():,} of {len(each):,}",
                number(real(each["denominator"].median())),
            )
            for each in (mixed, others)
        )
        parts.append(
            f"{some} with mixed keys and {rest} with one key on {model} (median |denominator| "
            f"{small} and {large})"
        )
    if not parts:
        return "No update could be made both with mixed keys and with one key."
    return f"Edits of the same facts that collapse the model: {'; '.join(parts[:MOST_NAMED])}."


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


def by_keys(updates: pl.DataFrame, positions: pl.DataFrame) -> Table:
    """The updates by keys, and those of subjects at the other position."""
    swapped = positions.filter("swapped").with_columns(
        strategy=pl.lit(SWAPPED), second_moment=pl.lit(True)
    )
    made = pl.concat([updates, swapped], how="diagonal")
    heads = (
        *("model", "keys", "C", "cases", "n", *HARMED),
        *("mean |numerator|", "s.d.", "mean |denominator|", "s.d.", "median"),
        *("mean perplexity", "greatest", "unedited"),
    )

    def cells(group: pl.DataFrame) -> Sequence[str]:
        above, below = group["numerator_norm"], group["denominator"]
        update = above.mean(), above.std(), below.mean(), below.std(), below.median()
        perplexity, base = group["perplexity"], group["perplexity_base"]
        effect = perplexity.mean(), perplexity.max(), base.max()
        return *_harmed(group), *_numbers(*update, *effect)

    by = ("model", "strategy", "second_moment", "cases")
    rows = _grouped(made, by, cells, {True: "with", False: "without"})
    caption = (
        "Updates and edited models by keys, with and without C. “Swapped”: a first token "
        "(collapse) is moved to the second position, a second token of a normal subject to the "
        "first."
    )
    return Table(caption, heads, rows, 4)


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
        "What cases that collapse the model have in common (mixed keys, with C). “Area” is how "
        "often one has a smaller value than another case (ties count half)."
    )
    return Table(caption, heads, tuple(rows), 2)
