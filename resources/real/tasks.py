"""The items of five tasks over the real world."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resources.generator.world import write_lines
from resources.real import cloze, grammar, passages
from resources.real.facts import Fact, false_objects
from resources.real.records import ask

ITEMS = 200
CHOICES = 4
# These relations have fewer than four objects, or name the answer in the question.
TOO_FEW = ("first_name", "testament")


def write_tasks(folder: Path, facts: Sequence[Fact], seed: int) -> None:
    """Write the items of every task; no fact is asked for twice."""
    asked, chosen = _drawn(facts, seed)
    write_lines(folder / "questions.jsonl", (_question(fact) for fact in asked))
    rng = random.Random(f"{seed}/choices")
    write_lines(folder / "choices.jsonl", (_choice(fact, rng) for fact in chosen))
    write_lines(folder / "cloze.jsonl", cloze.items(seed, ITEMS))
    write_lines(folder / "passages.jsonl", passages.items(seed, ITEMS))
    write_lines(folder / "grammar.jsonl", grammar.items(seed, ITEMS))


def _drawn(facts: Sequence[Fact], seed: int) -> tuple[list[Fact], list[Fact]]:
    """Facts to ask about, and others to ask for in multiple choice."""
    fit = [fact for fact in facts if fact.relation.id not in TOO_FEW]
    drawn = random.Random(f"{seed}/asked").sample(fit, 2 * ITEMS)
    return drawn[:ITEMS], drawn[ITEMS:]


def _question(fact: Fact) -> dict[str, Any]:
    return {"case_id": fact.case_id, "question": ask(fact), "answer": fact.object}


def _choice(fact: Fact, rng: random.Random) -> dict[str, Any]:
    """A question with four objects of its relation, exactly one of them true."""
    false = false_objects(fact.relation, fact.object)
    choices = [fact.object, *rng.sample(false, CHOICES - 1)]
    rng.shuffle(choices)
    item = {"case_id": fact.case_id, "question": ask(fact), "choices": choices}
    return item | {"answer": choices.index(fact.object)}
