"""Texts and task items kept out of training."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from resources.generator.facts import Fact
from resources.generator.stories import story
from resources.generator.tasks import Passage, cloze, continuation, fact_choice, passage, question

TEXTS = 600
ITEMS = 300


@dataclass(frozen=True)
class HeldOut:
    """Everything that is measured later and must not be trained on."""

    perplexity: list[str]
    passages: list[Passage]
    cloze: list[str]
    continuation: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    fact_choices: list[dict[str, Any]]

    def blocked(self) -> frozenset[str]:
        """Return the strings that no training document may begin with or be equal to."""
        return frozenset([*self.perplexity, *(p.text for p in self.passages), *self.cloze])


def perplexity_text(rng: random.Random) -> str:
    """Return the opening of a story, about 18 to 36 words."""
    sentences = story(rng)
    text = sentences[0]
    for sentence in sentences[1:]:
        if len(text.split()) >= 18:
            break
        text = f"{text} {sentence}"
    return text


def distinct(draw: Any, count: int) -> list[Any]:
    """Return `count` different results of calling `draw`, in the order they came."""
    found: dict[str, Any] = {}
    while len(found) < count:
        item = draw()
        found.setdefault(repr(item), item)
    return list(found.values())


def hold_out(facts: list[Fact], seed: int) -> HeldOut:
    """Draw all held-out material of a world."""
    rng = random.Random(f"{seed}/heldout")
    chosen = rng.sample(facts, 2 * ITEMS)
    questions = [
        {"case_id": f.case_id, "question": question(f, f.withheld), "answer": f.object}
        for f in chosen[:ITEMS]
    ]
    return HeldOut(
        perplexity=distinct(lambda: perplexity_text(rng), TEXTS),
        passages=distinct(lambda: passage(rng), ITEMS),
        cloze=distinct(lambda: " ".join(cloze(rng)), ITEMS),
        continuation=distinct(lambda: continuation(rng), ITEMS),
        questions=questions,
        fact_choices=[fact_choice(f, rng) for f in chosen[ITEMS:]],
    )
