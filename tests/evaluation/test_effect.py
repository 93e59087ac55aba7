"""The lines on an edit's effect hold the numbers of its row, and only what was measured."""

from typing import Any

import pytest

from editcore.evaluation.effect import free_answers, lines, took


def row(**changes: Any) -> dict[str, Any]:
    """A row with five test prefixes."""
    known: dict[str, Any] = {
        "efficacy": 1.0,
        "efficacy_prefixed": 0.84,
        "efficacy_prefixed_min": 0.5,
        "efficacy_prefixed_max": 1.0,
        "efficacy_prefixed_n": 5.0,
        "efficacy_free": 1.0,
        "efficacy_free_prefixed": 0.8,
        "locality": 0.25,
        "locality_prefixed": 0.5,
    }
    return known | changes


def test_efficacy_is_shown_with_range_and_number_of_prefixes() -> None:
    shown = list(lines(row()))
    assert shown == [
        "efficacy       1.00, after 5 prefixes 0.84 (0.50 to 1.00)   gives the new object",
        "locality       0.25, after a prefix 0.50   neighbours unchanged",
        "Asked freely, it names the new object after the bare prompt and after 4 of 5 prefixes.",
    ]


def test_what_was_not_measured_is_not_shown() -> None:
    assert list(lines({})) == []
    assert list(lines({"efficacy": None, "efficacy_free": None})) == []


@pytest.mark.parametrize(
    ("bare", "prefixed", "words"),
    [
        (1.0, 1.0, "after the bare prompt and after 5 of 5 prefixes"),
        (1.0, 0.0, "only after the bare prompt"),
        (0.0, 0.6, "after 3 of 5 prefixes, but not after the bare prompt"),
        (0.0, 0.0, "neither after the bare prompt nor after a prefix"),
    ],
)
def test_free_answers_are_one_sentence(bare: float, prefixed: float, words: str) -> None:
    found = free_answers(row(efficacy_free=bare, efficacy_free_prefixed=prefixed))
    assert found == f"Asked freely, it names the new object {words}."


def test_free_answers_without_the_metric_have_a_share() -> None:
    found = free_answers({"efficacy_free": 0.0, "efficacy_free_prefixed": 0.4})
    assert "after a share of 0.40 of prefixes" in found


def test_an_edit_took_if_it_did_in_any_way_that_was_asked() -> None:
    none = row(efficacy=0.49, efficacy_prefixed=0.49, efficacy_free=0.0, efficacy_free_prefixed=0.0)
    assert not took(none)
    assert not took({})
    for way, least in (
        ("efficacy", 0.5),
        ("efficacy_prefixed", 0.5),
        ("efficacy_free", 1.0),
        ("efficacy_free_prefixed", 0.2),
    ):
        assert took(none | {way: least})
