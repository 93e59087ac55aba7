"""Writes the facts of the real world as records in COUNTERFACT's format."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from editcore.datasets.writers import counterfact_record
from editcore.requests import SLOT, EditRequest, Probe
from resources.real.facts import Fact
from resources.real.relations import RELATIONS, Relation

NEIGHBOURS = 5
# How often a subject opens its prompt; one-word subjects can then be hard cases.
OPENING_WORD, OPENING_PHRASE = 0.75, 0.5
LEAD = "As many people know, "
# COUNTERFACT also has unrelated sentences before its paraphrases.
BEFORE = (
    "The bus was late again this morning.",
    "She closed the window and put the kettle on.",
    "We had soup for lunch and talked about the garden.",
    "His shoes were wet from the long walk home.",
    "The shop on the corner opens at nine.",
    "Nobody had watered the plants for a week.",
    "The children were building a tower of wooden blocks.",
    "Please leave the keys on the kitchen table.",
    "It rained for most of the afternoon.",
    "The meeting took longer than anyone had planned.",
    "A bicycle was leaning against the fence.",
    "They painted the door green last summer.",
)


def say(template: str, subject: str) -> str:
    """The template with a subject; a lead-in comes first if it would begin in lower case."""
    lead = LEAD if template.startswith(SLOT) and subject[0].islower() else ""
    return lead + template.replace(SLOT, subject)


def wordings(fact: Fact, rng: random.Random) -> list[str]:
    """The relation's templates, in random order, with the prompt's first."""
    relation = fact.relation
    share = OPENING_WORD if fact.one_word else OPENING_PHRASE
    opens = rng.random() < share and not fact.subject[0].islower()
    prompt = rng.choice(relation.first if opens else relation.inside)
    others = [each for each in relation.first + relation.inside if each != prompt]
    return [prompt, *rng.sample(others, len(others))]


def neighbours(
    fact: Fact, template: str, facts: Sequence[Fact], rng: random.Random
) -> tuple[Probe, ...]:
    """Facts of the same relation that must not change, first those with the same true object.

    If there are fewer than five, as in one-to-one relations, others with their own objects are
    added. None has the new object.
    """
    fit = [each for each in apart(fact, facts) if each.object != fact.other]
    same = [each for each in fit if each.object == fact.object]
    near = [each for each in fit if each.object != fact.object]
    chosen = rng.sample(same, min(NEIGHBOURS, len(same)))
    chosen += rng.sample(near, NEIGHBOURS - len(chosen))
    return tuple(Probe(say(template, each.subject), each.object) for each in chosen)


def apart(fact: Fact, facts: Sequence[Fact]) -> list[Fact]:
    """The facts whose subject neither contains this one's nor is contained in it."""
    return [
        each
        for each in facts
        if fact.subject not in each.subject and each.subject not in fact.subject
    ]


def request(fact: Fact, facts: Sequence[Fact], rng: random.Random) -> EditRequest:
    """The request to change one fact; `facts` are all of its relation."""
    prompt, second, third, _ = wordings(fact, rng)
    return EditRequest(
        fact.case_id,
        prompt,
        fact.subject,
        fact.other,
        fact.object,
        fact.relation.id,
        (
            say(second, fact.subject),
            f"{rng.choice(BEFORE)} {say(third, fact.subject)}",
        ),
        neighbours(fact, prompt, facts, rng),
        question=ask(fact),
    )


def record(fact: Fact, facts: Sequence[Fact], seed: int) -> dict[str, Any]:
    """One record; its paraphrases also serve as prompts for generation in published code."""
    rng = random.Random(f"{seed}/record/{fact.relation.id}/{fact.subject}")
    asked = request(fact, facts, rng)
    holders = [each for each in apart(fact, facts) if each.object == fact.other]
    attributes = rng.sample(holders, min(NEIGHBOURS, len(holders)))
    return counterfact_record(asked) | {
        "pararel_idx": [each.id for each in RELATIONS].index(fact.relation.id),
        "attribute_prompts": [say(asked.prompt, each.subject) for each in attributes],
        "generation_prompts": [
            say(each, fact.subject)
            for each in fact.relation.first + fact.relation.inside
            if each != asked.prompt
        ]
        + [f"Question: {ask(fact)}\nAnswer:"],
    }


def ask(fact: Fact) -> str:
    """The question about a fact."""
    return fact.relation.question.replace(SLOT, fact.subject)


def all_records(facts: Sequence[Fact], seed: int) -> list[dict[str, Any]]:
    """The record of every fact, in the order of case_id."""
    kinds = by_relation(facts)
    return [record(fact, kinds[fact.relation], seed) for fact in facts]


def by_relation(facts: Sequence[Fact]) -> Mapping[Relation, list[Fact]]:
    """The facts of each relation."""
    kinds: dict[Relation, list[Fact]] = {}
    for fact in facts:
        kinds.setdefault(fact.relation, []).append(fact)
    return kinds
