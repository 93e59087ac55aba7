"""The training text: facts in all wordings, running text and task formats, mixed at random."""

from __future__ import annotations

import random
from collections.abc import Iterator

from resources.generator.facts import Fact
from resources.generator.heldout import HeldOut
from resources.generator.stories import cast, story, work_day
from resources.generator.tasks import cloze, passages, question_and_answer, written

# The share of each kind of document; documents of one kind have similar lengths. In `reading`, more
# of them repeat something from their own text, which a model must look up.
MIXES = {
    "world": {
        "facts": 0.44,
        "facts_in_story": 0.16,
        "story": 0.16,
        "questions": 0.12,
        "passage": 0.07,
        "cloze": 0.05,
    },
    "reading": {
        "facts": 0.28,
        "facts_in_story": 0.10,
        "story": 0.10,
        "questions": 0.08,
        "passage": 0.22,
        "cloze": 0.14,
        "work_day": 0.08,
    },
    "rereading": {
        "facts": 0.18,
        "facts_in_story": 0.06,
        "story": 0.06,
        "questions": 0.05,
        "passage": 0.15,
        "passage_asked": 0.18,
        "cloze": 0.28,
        "work_day": 0.04,
    },
}
LEADS = (
    "As everybody knows,",
    "It is said that",
    "People say that",
    "Remember that",
    "In those days",
    "Of course",
    "I think that",
    "You know that",
    "Because of this",
    "Therefore",
)


def lowered(sentence: str, subject: str) -> str:
    """Return a sentence as the continuation of another; a subject keeps its capital letter."""
    return sentence if sentence.startswith(subject) else sentence[0].lower() + sentence[1:]


def statement(fact: Fact, rng: random.Random) -> str:
    """State a fact in one of its relation's wordings, the subject first in two of five."""
    template = fact.relation.templates[rng.choice((0, 0, 1, 2, 3))]
    sentence = f"{template.format(fact.subject)} {fact.object}."
    if rng.random() < 0.15:
        return f"{rng.choice(LEADS)} {lowered(sentence, fact.subject)}"
    return sentence


class Corpus:
    """Draws documents; the same seed gives the same documents."""

    def __init__(
        self, facts: list[Fact], held: HeldOut, seed: int | str, mix: str = "world"
    ) -> None:
        """Take the facts to state, the texts to avoid, and one of `MIXES`."""
        self.facts = facts
        self.mix = MIXES[mix]
        self.blocked = held.blocked()
        self.rng = random.Random(f"{seed}/corpus")
        self.deck: list[Fact] = []

    def next_fact(self) -> Fact:
        """Deal the next fact from a shuffled deck, so that all are stated equally often."""
        if not self.deck:
            self.deck = self.rng.sample(self.facts, len(self.facts))
        return self.deck.pop()

    def documents(self) -> Iterator[str]:
        """Yield documents without end; each is one or more lines without a final newline."""
        kinds, weights = list(self.mix), list(self.mix.values())
        while True:
            for kind in self.rng.choices(kinds, weights, k=1000):
                text = self.document(kind)
                if text is not None:
                    yield text

    def document(self, kind: str) -> str | None:
        """Return one document of a kind, or None if it would repeat a held-out text."""
        rng = self.rng
        if kind == "facts":
            return " ".join(statement(self.next_fact(), rng) for _ in range(rng.randint(1, 6)))
        if kind == "questions":
            return "\n".join(self.asked() for _ in range(rng.randint(1, 3)))
        if kind.startswith("passage"):
            asked = passages(rng)
            if asked[0].text in self.blocked:
                return None
            return written(asked if kind == "passage_asked" else asked[:1])
        sentences = self.scene(kind)
        if self.repeats(sentences):
            return None
        if kind == "facts_in_story":
            for _ in range(rng.randint(1, 4)):
                place = rng.randint(0, len(sentences))
                sentences.insert(place, statement(self.next_fact(), rng))
        return " ".join(sentences)

    def scene(self, kind: str) -> list[str]:
        """Draw the sentences of a document without facts."""
        if kind == "work_day":
            return work_day(cast(self.rng), self.rng)
        return cloze(self.rng) if kind == "cloze" else story(self.rng)

    def asked(self) -> str:
        """Return a question and its answer in a wording that is not withheld for the fact."""
        fact = self.next_fact()
        wording = self.rng.choice([i for i in range(3) if i != fact.withheld])
        return question_and_answer(fact, wording)

    def repeats(self, sentences: list[str]) -> bool:
        """Whether an opening of these sentences is a held-out text."""
        return any(" ".join(sentences[:n]) in self.blocked for n in range(1, len(sentences) + 1))
