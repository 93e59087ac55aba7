"""Numbers about an edit keep their names and values, from whoever reports them."""

import json
import math

import pytest
import torch

from editcore.editing.diagnostics import IN_COLUMNS, as_json, flaw, from_json, merge_diagnostics


def test_no_number_is_overwritten() -> None:
    known = {"rank": 3.0}
    once = merge_diagnostics(known, "cap", {"rank": 2.0, "cut": 1.0})
    twice = merge_diagnostics(once, "cap", {"rank": 1.0})
    assert twice == {"rank": 3.0, "cap.rank": 2.0, "cut": 1.0, "cap.cap.rank": 1.0}
    assert known == {"rank": 3.0}


@pytest.mark.parametrize("name", IN_COLUMNS)
def test_only_an_editor_fills_a_column(name: str) -> None:
    """A transform's number is never taken for the editor's, even if the editor reports none."""
    assert merge_diagnostics({}, "cap", {name: 2.0}) == {f"cap.{name}": 2.0}


def test_numbers_are_sorted_and_those_that_are_not_finite_are_null() -> None:
    given = {
        "rank": 3,
        "loss": torch.tensor(0.5),
        "gap": math.inf,
        "fall": -math.inf,
        "angle": math.nan,
        "none": None,
        "steps": 4,
    }
    text = as_json(given, IN_COLUMNS)
    assert text is not None
    assert [*json.loads(text)] == ["angle", "fall", "gap", "loss", "none", "rank"]
    assert {name: value for name, value in from_json(text).items() if value is not None} == {
        "loss": 0.5,
        "rank": 3.0,
    }
    json.loads(text, parse_constant=lambda odd: pytest.fail(f"{odd} is not JSON"))
    assert not flaw(given)


def test_no_numbers_are_null() -> None:
    assert as_json({}) is None
    assert as_json({"steps": 3.0}, IN_COLUMNS) is None
    assert from_json(None) == {}
