"""A comparison in words: for a terminal, and as JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from editcore.numbers import plural
from editcore.summary.compared import cells
from editcore.summary.compared.cells import Cells
from editcore.summary.compared.comparison import WORDS, Comparison
from editcore.summary.compared.further import costs
from editcore.summary.compared.groups import Group
from editcore.text_table import text_table

# Cases that a terminal shows; a page has more, and JSON all.
MOST_CASES = 10


def page(found: Sequence[Comparison]) -> str:
    """All comparisons, with one table of outcomes first if there are several."""
    several = [_table(cells.outcomes(found))] if len(found) > 1 else []
    return "\n\n".join([*several, *(part for each in found for part in _parts(each))])


def as_dict(found: Comparison) -> dict[str, Any]:
    """Everything about one comparison as JSON takes it; numbers that are infinite are `inf`."""
    return dict(
        _plain(
            {
                "old": found.old.name,
                "new": found.new.name,
                "outcome": WORDS[found.outcome],
                "sentence": found.sentence,
                "unlike": found.unlike,
                "missing": found.missing,
                "settings": [asdict(each) for each in found.settings],
                "different_columns": found.joined.different,
                "groups": [_group(group) for group in found.groups],
                "sequences": [asdict(pair) for pair in found.sequences],
                "tasks": [asdict(pair) for pair in found.tasks],
                "costs": {
                    side: {stage: asdict(cost) for stage, cost in costs(study).items()}
                    for side, study in (("old", found.old), ("new", found.new))
                },
            }
        )
    )


def _parts(found: Comparison) -> list[str]:
    parts = []
    if found.unlike:
        parts.append(_listed("NOT LIKE WITH LIKE:", found.unlike))
    parts.append(found.sentence)
    parts += _tables(found, cells.settings)
    if not found.identical:
        parts += _tables(found, cells.overview, cells.means, cells.quantities)
        parts += [_moved(group) for group in found.groups if group.moved]
    parts += _tables(found, cells.sequences, cells.tasks, cells.costs_of)
    if found.missing:
        parts.append(_listed("Not in both, or not compared:", found.missing))
    return parts


def _tables(found: Comparison, *makers: Callable[[Comparison], Cells]) -> list[str]:
    """The tables that have rows."""
    return [_table(table) for make in makers if (table := make(found)).rows]


def _table(table: Cells) -> str:
    return "\n\n".join(filter(None, (table.caption, text_table(table.heads, table.rows))))


def _listed(head: str, sentences: Sequence[str]) -> str:
    return "\n".join([head, *(f"- {sentence}" for sentence in sentences)])


def _moved(group: Group) -> str:
    table = cells.moved(group)
    more = len(table.rows) - MOST_CASES
    head = f"{group.name}: {plural(len(table.rows), 'case')} moved"
    lines = [f"{head}, worst first:", "", text_table(table.heads, table.rows[:MOST_CASES])]
    return "\n".join([*lines, f"and {more:,} more"] if more > 0 else lines)


def _group(group: Group) -> dict[str, Any]:
    return {
        **dict(zip(("model", "editor", "dataset"), group.labels, strict=True)),
        "n": group.n,
        "outcome": WORDS[group.outcome],
        "outcomes": group.outcomes,
        "moves": [{"old": a, "new": b, "n": count} for (a, b), count in group.moves.items()],
        "grades": {**asdict(group.grades), "p_value": group.grades.p_value},
        "failures": {**asdict(group.failures), "p_value": group.failures.p_value},
        "metrics": {name: asdict(mean) for name, mean in group.metrics.items()},
        "quantities": {name: asdict(each) for name, each in group.quantities.items()},
        "moved": [asdict(case) for case in group.moved],
    }


def _plain(value: Any) -> Any:
    """The value in the types of JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
