"""Long answers in pieces, each a fact of the same case that continues the one before."""

import re
from collections.abc import Iterator
from dataclasses import replace

from editcore.datasets.formats.akew import akew
from editcore.datasets.formats.fields import Record
from editcore.datasets.formats.questions import unke
from editcore.requests import EditRequest

LONGEST = 40
"""The most words of a piece."""
SENTENCE = re.compile(r".+?(?:[.!?]['\")\]]*(?=\s)|$)", re.DOTALL)
WORD = re.compile(r"\S+")


def unke_pieces(record: Record, index: int) -> EditRequest:
    """A record of UnKEBench (Deng et al. 2025) whose answer is edited in pieces."""
    return in_pieces(unke(record, index))


def akew_pieces(record: Record, index: int) -> EditRequest:
    """A record of AKEW (Wu et al. 2024) whose texts are edited in pieces."""
    return in_pieces(akew(record, index))


def in_pieces(request: EditRequest) -> EditRequest:
    """The request for the first piece of a long answer; those for the others are `further`.

    Each of them has the answer so far in its prompt (AnyEdit, Jiang et al. 2025).
    """
    first, *others = _pieces_of(request) or [request]
    facts = [piece for other in request.further for piece in _pieces_of(other)]
    return replace(first, further=(*others, *facts))


def pieces(answer: str) -> list[str]:
    """An answer in pieces of at most `LONGEST` words, which end with a sentence if one ends there.

    >>> pieces("One two. Three."), [len(piece.split()) for piece in pieces("word " * 90)]
    (['One two. Three.'], [40, 40, 10])
    """
    found: list[str] = []
    start = end = 0
    for stop in _stops(answer):
        if len(answer[start:stop].split()) > LONGEST and end > start:
            found.append(answer[start:end])
            start = end
        end = stop
    return [piece.strip() for piece in (*found, answer[start:]) if piece.strip()]


def _stops(answer: str) -> Iterator[int]:
    """Where a piece may end: after each sentence, and within those that are too long for one."""
    for sentence in SENTENCE.finditer(answer):
        words = [sentence.start() + word.end() for word in WORD.finditer(sentence[0])]
        yield from words[LONGEST - 1 :: LONGEST]
        yield sentence.end()


def _pieces_of(request: EditRequest) -> list[EditRequest]:
    """A request for each piece of the answer; the tests of the case belong to the first."""
    found: list[EditRequest] = []
    prompt = request.prompt
    for piece in pieces(request.target_new):
        found.append(replace(request, prompt=prompt, target_new=piece, further=()))
        prompt = f"{prompt} {piece}"
    return [found[0], *(_untested(each) for each in found[1:])] if found else []


def _untested(request: EditRequest) -> EditRequest:
    return replace(request, paraphrases=(), neighbours=(), consequences=(), question="")
