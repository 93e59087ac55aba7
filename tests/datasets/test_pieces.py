"""A long answer is edited in pieces that, read one after the other, are the answer."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editcore.datasets.formats.pieces import LONGEST, pieces
from tests.data_sets import LONG, PIECES, RECORDS
from tests.datasets.test_data_sets import read

words = st.text(st.sampled_from("ab.!?,'\") "), max_size=600)


@given(answer=words)
def test_pieces_are_the_answer_and_are_short(answer: str) -> None:
    found = pieces(answer)
    assert " ".join(found).split() == answer.split()
    assert all(0 < len(piece.split()) <= LONGEST for piece in found)


def test_pieces_end_with_sentences() -> None:
    found = pieces(LONG)
    assert [len(piece.split()) for piece in found] == [40, 10]
    assert all(piece.endswith(".") for piece in found)


@pytest.mark.parametrize(("name", "whole"), [("unke-pieces", "unke"), ("akew-pieces", "akew")])
def test_each_piece_continues_the_ones_before(name: str, whole: str, tmp_path: Path) -> None:
    found, (request,) = read([PIECES[name]], tmp_path, name)
    assert (found, request.flaw) == (name, "")
    _, (undivided,) = read([PIECES[name]], tmp_path, whole)
    assert undivided.target_new == LONG
    facts = [request, *request.further]
    assert len(facts) == 2
    for fact, following in pairwise(facts):
        assert following.prompt == f"{fact.prompt} {fact.target_new}"
    assert f"{facts[-1].text} {facts[-1].target_new}" == f"{undivided.text} {LONG}"
    assert request.consequences == undivided.consequences != ()
    assert not any(fact.consequences or fact.neighbours for fact in request.further)


def test_a_short_answer_is_one_piece(tmp_path: Path) -> None:
    _, (divided,) = read([RECORDS["unke"]], tmp_path, "unke-pieces")
    assert [divided] == read([RECORDS["unke"]], tmp_path, "unke")[1]
