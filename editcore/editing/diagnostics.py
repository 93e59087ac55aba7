"""Diagnostics of an edit: numbers that its editor, wrappers and transforms know, by name."""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

# Those of an editor that have columns of their own in the rows of edits.
IN_COLUMNS = ("numerator_norm", "denominator", "key_match", "steps")


def merge_diagnostics(
    known: Mapping[str, float], owner: str, more: Mapping[str, float]
) -> dict[str, float]:
    """`known` with the numbers `more` of a transform or wrapper, the `owner`; none is overwritten.

    A name that is taken, or that of a column for editors, follows the owner's name.

    >>> merge_diagnostics({"rank": 3.0}, "cap", {"rank": 2.0, "cut": 1.0})
    {'rank': 3.0, 'cap.rank': 2.0, 'cut': 1.0}
    """
    merged = dict(known)
    for name, value in more.items():
        free = name
        while free in merged or free in IN_COLUMNS:
            free = f"{owner}.{free}"
        merged[free] = value
    return merged


def flaw(diagnostics: object) -> str:
    """Why these are no numbers by name, to follow the name of who gave them; empty if they are.

    >>> flaw({"rank": "many"})
    "reports the diagnostic 'rank', which is not a number"
    """
    if not isinstance(diagnostics, Mapping):
        return "reports diagnostics that are not a mapping from names to numbers"
    for name, value in diagnostics.items():
        if not isinstance(name, str):
            return f"reports a diagnostic whose name is {name!r}, not text"
        if not _is_number(value):
            return f"reports the diagnostic {name!r}, which is not a number"
    return ""


def as_json(diagnostics: Mapping[str, float], without: Collection[str] = ()) -> str | None:
    """The numbers as a JSON object with sorted names; None if there are none.

    A number that is not finite is null. Those in `without` are left out: they have columns.

    >>> as_json({"b": float("inf"), "a": 2, "steps": 3}, IN_COLUMNS)
    '{"a": 2.0, "b": null}'
    """
    found = {name: _finite(value) for name, value in diagnostics.items() if name not in without}
    return json.dumps(found, sort_keys=True) if found else None


def from_json(text: str | None) -> dict[str, float | None]:
    """The numbers of a row's column `diagnostics`; empty if it is null."""
    return dict(json.loads(text)) if text else {}


def _is_number(value: Any) -> bool:
    try:
        _finite(value)
    except Exception:  # a third party's value may raise anything
        return False
    return not isinstance(value, str)


def _finite(value: Any) -> float | None:
    """The number, or None if there is none that is finite."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None
