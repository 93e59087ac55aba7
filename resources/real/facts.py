"""Reads the tables of true facts and draws a false object of the same kind for each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resources.real.relations import RELATIONS, Relation

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Fact:
    """A true fact, and the false object for an edit."""

    case_id: int
    relation: Relation
    subject: str
    object: str
    other: str

    @property
    def one_word(self) -> bool:
        """Whether the subject may be a single token."""
        return " " not in self.subject and self.subject[0].isupper()


def table(relation: Relation) -> Iterator[tuple[str, str]]:
    """Subjects with their objects, from a table whose lines are `object: subject; subject`."""
    text = (TABLES / f"{relation.id}.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        true, _, subjects = line.partition(": ")
        yield from ((subject, true) for subject in subjects.split("; "))


def draw_facts(seed: int) -> list[Fact]:
    """All facts, shuffled, so that the first N cover all relations."""
    drawn = [
        (relation, *row, random.Random(f"{seed}/other/{relation.id}/{row[0]}"))
        for relation in RELATIONS
        for row in table(relation)
    ]
    false = {(relation.id, true): false_objects(relation, true) for relation, _, true, _ in drawn}
    random.Random(f"{seed}/order").shuffle(drawn)
    return [
        Fact(i, relation, subject, true, rng.choice(false[relation.id, true]))
        for i, (relation, subject, true, rng) in enumerate(drawn)
    ]


def false_objects(relation: Relation, true: str) -> list[str]:
    """The relation's objects that are false for a subject whose true object is `true`."""
    objects = sorted({each for _, each in table(relation)})
    alike = next((group for group in relation.alike if true in group), (true,))
    return [each for each in objects if each not in alike]
