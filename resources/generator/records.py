"""Writes facts as records in COUNTERFACT's original format."""

from __future__ import annotations

import random
from typing import Any

from resources.generator.facts import Fact
from resources.generator.relations import HARD_RELATIONS, RELATIONS
from resources.generator.stories import story

NEIGHBOURS = 5
NORMAL = 340


def hard_relation(index: int) -> str:
    """Return the relation that makes the index-th one-word product a hard case."""
    return HARD_RELATIONS[index % len(HARD_RELATIONS)]


def hard_facts(facts: list[Fact]) -> list[Fact]:
    """Return one fact for each one-word product, spread over the hard relations."""
    by_name = {(f.relation.id, f.subject): f for f in facts}
    words = [f.subject for f in facts if f.one_word and f.relation.id == HARD_RELATIONS[0]]
    return [by_name[hard_relation(i), word] for i, word in enumerate(words)]


def normal_facts(facts: list[Fact], seed: int) -> list[Fact]:
    """Return a sample of all other facts."""
    hard = {f.case_id for f in hard_facts(facts)}
    rest = [f for f in facts if f.case_id not in hard]
    chosen = random.Random(f"{seed}/normal").sample(rest, NORMAL)
    return sorted(chosen, key=lambda fact: fact.case_id)


def wordings(fact: Fact, hard: bool, rng: random.Random) -> list[str]:
    """Return prompt and two paraphrases; only a hard case may open with a one-word subject."""
    first, *later = fact.relation.templates
    if hard:
        return [first, *rng.sample(later, 2)]
    if fact.one_word:
        return rng.sample(later, 3)
    return rng.sample([first, *later], 3)


def record(fact: Fact, facts: list[Fact], hard: bool, rng: random.Random) -> dict[str, Any]:
    """Return one COUNTERFACT record; the second paraphrase follows an unrelated sentence."""
    prompt, second, third = wordings(fact, hard, rng)
    same = [f for f in facts if f.relation is fact.relation]
    neighbours = [f for f in same if f.object == fact.object and f is not fact]
    holders = [f for f in same if f.object == fact.other]
    questions = fact.relation.questions
    return {
        "case_id": fact.case_id,
        "pararel_idx": [r.id for r in RELATIONS].index(fact.relation.id),
        "requested_rewrite": {
            "prompt": prompt,
            "relation_id": fact.relation.id,
            "target_new": {"str": fact.other, "id": f"O-{fact.other}"},
            "target_true": {"str": fact.object, "id": f"O-{fact.object}"},
            "subject": fact.subject,
        },
        "paraphrase_prompts": [
            second.format(fact.subject),
            f"{rng.choice(story(rng))} {third.format(fact.subject)}",
        ],
        "neighborhood_prompts": [
            prompt.format(f.subject) for f in rng.sample(neighbours, NEIGHBOURS)
        ],
        "attribute_prompts": [prompt.format(f.subject) for f in rng.sample(holders, NEIGHBOURS)],
        "generation_prompts": [t.format(fact.subject) for t in fact.relation.templates[1:]]
        + [f"Question: {questions[fact.withheld].format(fact.subject)}\nAnswer:"],
    }


def all_records(facts: list[Fact], seed: int) -> list[dict[str, Any]]:
    """Return the record of every fact, in the order of case_id."""
    hard = {f.case_id for f in hard_facts(facts)}
    rng = random.Random(f"{seed}/records")
    return [record(f, facts, f.case_id in hard, rng) for f in facts]
