"""Collapses found so far, from the tables of the shards and sequences that are finished."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from editcore.collapse.verdict import judged
from editcore.config.collapse import CollapseSection
from editcore.planning.paths import RESULTS
from editcore.requests import OK

EDITS, SEQUENCES = "edits", "sequences"
KINDS = (EDITS, SEQUENCES)
MEASURED = ("status", "perplexity", "perplexity_base")


@dataclass(frozen=True)
class Finding:
    """Of one table: how many edits collapsed the model and how many failed, of how many.

    A sequence counts as one edit.
    """

    kind: str
    model: str
    editor: str
    collapsed: int
    total: int
    failed: int


def kind(table: Path) -> str | None:
    """`edits` or `sequences`, if the path is that of a table of one of them."""
    found = next((k for k in KINDS if table.is_relative_to(RESULTS / k)), None)
    return found if table.suffix == ".parquet" else None


def read(table: Path, rule: CollapseSection) -> Finding | None:
    """What is in one table; None if it is not one of edits or sequences, or cannot be read yet.

    The commands of the workflow check tables; here, one that cannot be read is only left out.
    """
    of = kind(table)
    if of is None:
        return None
    try:
        rows = judged(pl.read_parquet(table, columns=list(MEASURED)), rule)
    except (OSError, pl.exceptions.PolarsError):
        return None
    keys = dict(part.split("=", 1) for part in table.parts if "=" in part)
    collapsed = int(rows["collapsed"].fill_null(False).sum())
    failed = int((rows["status"] != OK).sum())
    if of == SEQUENCES:
        collapsed, total, failed = int(collapsed > 0), 1, 0
    else:
        total = rows.height
    return Finding(of, keys.get("model", ""), keys.get("editor", ""), collapsed, total, failed)


def summed(findings: Iterable[Finding]) -> list[Finding]:
    """One for each kind, editor and model; those with the greatest share of collapses first."""
    sums: dict[tuple[str, str, str], Finding] = {}
    for each in findings:
        key = (each.kind, each.editor, each.model)
        old = sums.get(key, Finding(each.kind, each.model, each.editor, 0, 0, 0))
        sums[key] = Finding(
            each.kind,
            each.model,
            each.editor,
            old.collapsed + each.collapsed,
            old.total + each.total,
            old.failed + each.failed,
        )
    return sorted(sums.values(), key=lambda f: (f.kind, -f.collapsed / f.total, f.editor, f.model))


def by_table(tables: Iterable[Path], rule: CollapseSection) -> Mapping[Path, Finding]:
    """What is in each of the tables that exist."""
    return {table: found for table in tables if table.is_file() and (found := read(table, rule))}
