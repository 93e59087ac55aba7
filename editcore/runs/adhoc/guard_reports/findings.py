"""What is wrong with guarded edits, as one finding each, whatever format it is written in."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.runs.adhoc.guard import Guarded, fact_of, reason_of

NOT_MADE, ENDANGERS, WITHOUT_EFFECT = "not-made", "endangers", "without-effect"
# What can be found, in a sentence each; the first two are grades of the edited model.
RULES = MappingProxyType(
    {
        COLLAPSED: "The model with the edit has collapsed.",
        DAMAGED: "The model with the edit is damaged.",
        NOT_MADE: "The edit could not be made or measured.",
        ENDANGERS: "After the edit, the model no longer gives the object of an earlier one.",
        WITHOUT_EFFECT: "The model with the edit does not give the new object.",
    }
)


@dataclass(frozen=True)
class Finding:
    """One of `RULES` that an edit broke; an error if the edit was refused for it."""

    rule: str
    level: Literal["error", "warning"]
    case_id: int
    words: str


def findings(guarded: Guarded) -> Iterator[Finding]:
    """All findings, in the order of the edits."""
    facts = {row["case_id"]: fact_of(row) for row in guarded.rows}
    for row in guarded.rows:
        yield from _of(row, facts)


def _of(row: Mapping[str, Any], facts: Mapping[int, str]) -> Iterator[Finding]:
    """The findings of one edit: why it was refused, or what is wrong with it all the same."""
    case = row["case_id"]
    if not row["accepted"]:
        yield Finding(row["grade"] or NOT_MADE, "error", case, reason_of(row))
        return
    if row["grade"] == DAMAGED:
        yield Finding(DAMAGED, "warning", case, "the model is damaged")
    if not row["took"]:
        yield Finding(WITHOUT_EFFECT, "warning", case, "the model does not give the new object")
    for lost in json.loads(row["endangers"] or "[]"):
        words = f"the model no longer gives what was edited before: {facts[lost]}"
        yield Finding(ENDANGERS, "warning", case, words)
