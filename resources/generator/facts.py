"""Draws the knowledge base: triples of subject, relation and object."""

from __future__ import annotations

import random
from dataclasses import dataclass

from resources.generator import lexicon
from resources.generator.relations import RELATIONS, Relation

PEOPLE = 300


@dataclass(frozen=True)
class Fact:
    """One triple; `withheld` is the index of the question wording that training never shows."""

    case_id: int
    relation: Relation
    subject: str
    object: str
    other: str
    withheld: int

    @property
    def one_word(self) -> bool:
        """Whether the subject is a single ordinary word."""
        return self.subject in lexicon.WORDS


def people(rng: random.Random) -> list[str]:
    """Return distinct full names in which every last name is used about equally often."""
    firsts = lexicon.SHE + lexicon.HE
    names: list[str] = []
    for last in lexicon.LAST_NAMES:
        share = PEOPLE // len(lexicon.LAST_NAMES)
        names += [f"{first} {last}" for first in rng.sample(firsts, share)]
    return names


def subjects(kind: str, rng: random.Random) -> list[str]:
    """Return all subjects of a kind: word, product, person or town."""
    brands = [f"{brand} {number}" for brand in lexicon.BRANDS for number in lexicon.NUMBERS]
    towns = [f"{first} {last}" for first in lexicon.TOWN_FIRST for last in lexicon.TOWN_LAST]
    words = list(lexicon.WORDS)
    return {"word": words, "product": words + brands, "person": people(rng), "town": towns}[kind]


def draw_facts(seed: int) -> list[Fact]:
    """Return all facts of the world, objects spread evenly over each relation's subjects."""
    facts: list[Fact] = []
    kinds = {
        r.kind: subjects(r.kind, random.Random(f"{seed}/subjects/{r.kind}")) for r in RELATIONS
    }
    for relation in RELATIONS:
        rng = random.Random(f"{seed}/facts/{relation.id}")
        names = kinds[relation.kind]
        targets = [relation.objects[i % len(relation.objects)] for i in range(len(names))]
        rng.shuffle(targets)
        for subject, true in zip(names, targets, strict=True):
            other = rng.choice([o for o in relation.objects if o != true])
            facts.append(Fact(len(facts), relation, subject, true, other, rng.randrange(3)))
    return facts
