"""A text names an object only if the whole object is in it, as a person would write it."""

import pytest

from editcore.evaluation.free_answers import names, share_naming


@pytest.mark.parametrize(
    "text",
    [
        "Osdor",
        " Osdor.",
        ' the city of "Osdor", which',
        "(Osdor)",
        "Osdor-based",
        "Osdor's",
        " in\nOsdor\n",
        "Osdorian, no: Osdor",
    ],
)
def test_a_name_may_be_anywhere_and_next_to_punctuation(text: str) -> None:
    assert names(text, "Osdor")


@pytest.mark.parametrize(
    "text", ["", " ", "Osdorian", "Neosdor", "NeOsdor", "osdor", "Os dor", "Osd"]
)
def test_a_part_of_another_word_or_another_case_is_not_the_name(text: str) -> None:
    assert not names(text, "Osdor")


def test_all_words_of_a_name_must_follow_one_another() -> None:
    for text in (" Velra Labs.", "Velra\n Labs", "by Velra  Labs, the"):
        assert names(text, "Velra Labs")
    for text in ("Velra", "Labs Velra", "Velra and Labs", "Velra Labsen", "VelraLabs"):
        assert not names(text, "Velra Labs")


def test_a_name_is_a_text_and_not_a_pattern() -> None:
    assert names("written in C++, mostly", "C++")
    assert names("the U.S. team", "U.S.")
    assert not names("the UXSX team", "U.S.")
    assert names("Zürich", "Zürich") and not names("Zürich", "Z")


def test_nothing_names_an_empty_object() -> None:
    assert not names("any text", "") and not names("", "") and not names("any text", " ")


def test_a_share_counts_texts_and_not_mentions() -> None:
    assert share_naming(["Osdor, Osdor", "Osdorian", ""], "Osdor") == pytest.approx(1 / 3)
