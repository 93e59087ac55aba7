"""Passages about invented people, with questions that they answer, as in SQuAD."""

from __future__ import annotations

import random

from resources.real.slots import cast, distinct

# Each passage with its questions and their answers.
PASSAGES: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "{name} grew up in {town} as the child of a {job}. At school {he} liked {study} best, "
        "and at home {he} practised the {instrument} for {number} hours a week. Today {name} "
        "lives in {town2} and works as a {job2}.",
        {
            "Where did {name} grow up?": "{town}",
            "Which subject did {name} like best at school?": "{study}",
            "Which instrument did {name} practise?": "the {instrument}",
            "What is the profession of {name} today?": "{job2}",
        },
    ),
    (
        "On {day} morning a {colour} van stopped in front of the {place}. The driver, a {job} "
        "called {name}, unloaded {number} boxes of {fruit} and asked for directions. Nobody "
        "there had ordered any {fruit}. It turned out that they were meant for the {place2} on "
        "the other side of town.",
        {
            "On which day did the van stop in front of the {place}?": "{day}",
            "What colour was the van?": "{colour}",
            "What was in the boxes?": "{fruit}",
            "How many boxes did the driver unload?": "{number}",
            "For which place were the boxes meant?": "the {place2}",
        },
    ),
    (
        "The old {place} of {town} was closed last year because its roof leaked. A {job} named "
        "{name} collected money for the repair by selling {food} every {day}. After {number} "
        "months there was enough for a new roof, which was painted {colour}.",
        {
            "In which town is the old {place}?": "{town}",
            "Who collected money for the repair?": "{name}",
            "What did {name} sell?": "{food}",
            "What colour is the new roof?": "{colour}",
        },
    ),
    (
        "{name} has a {animal} that is afraid of thunder. When a storm comes, it hides behind "
        "the {thing} in the hall and does not move until {name} brings it some {food}. {name2}, "
        "who lives next door, has a {animal2} that sleeps through every storm.",
        {
            "Which animal does {name} have?": "a {animal}",
            "What is the animal of {name} afraid of?": "thunder",
            "Where does the animal of {name} hide?": "behind the {thing}",
            "Which animal does {name2} have?": "a {animal2}",
        },
    ),
    (
        "Before the trip, {name} packed a {thing}, two jackets and {number} tins of {food}. The "
        "train to {town} left on {day} at noon, but {name} missed it, because {he} had left the "
        "tickets at the {place}. A friend called {name2} drove {him} there by car instead.",
        {
            "Where did the train go?": "{town}",
            "On which day did the train leave?": "{day}",
            "Where had {name} left the tickets?": "at the {place}",
            "Who drove {name} by car?": "{name2}",
            "How many tins did {name} pack?": "{number}",
        },
    ),
    (
        "The prize for the best garden in {town} went to {name} this year. The jury praised the "
        "{colour} roses and the {number} trees full of {fruit}. The second prize was won by "
        "{name2}, a retired {job}. Both will be handed over at the {place} next {day}.",
        {
            "Who won the prize for the best garden?": "{name}",
            "Who won the second prize?": "{name2}",
            "What was the profession of {name2}?": "{job}",
            "Where will the prizes be handed over?": "at the {place}",
        },
    ),
    (
        "When {name} moved to {town}, {he} knew nobody. {He} answered an advertisement by a "
        "group that met every {day} behind the {place} to make music. They needed somebody who "
        "could play the {instrument}. There {he} met {name2}, a {job}, and the two were married "
        "{number} years later.",
        {
            "Which town did {name} move to?": "{town}",
            "Which instrument did the group need?": "the {instrument}",
            "Where did the group meet?": "behind the {place}",
            "Whom did {name} marry?": "{name2}",
        },
    ),
    (
        "In the small shop near the {place}, everything costs the same. A {thing} costs as much "
        "as a bag of {fruit}. The owner, {name}, used to be a {job} and opened the shop {number} "
        "years ago. It is closed on {day}, when {name} visits a sister in {town}.",
        {
            "Who owns the shop?": "{name}",
            "What did the owner of the shop use to be?": "a {job}",
            "On which day is the shop closed?": "{day}",
            "Where does the sister of {name} live?": "{town}",
        },
    ),
)


def items(seed: int, count: int) -> list[dict[str, str]]:
    """Items with passage, question and answer; all passages equally often, no text twice."""
    rng = random.Random(f"{seed}/passages")
    deck: list[tuple[str, dict[str, str]]] = []

    def draw() -> dict[str, str]:
        if not deck:
            deck.extend(rng.sample(PASSAGES, len(PASSAGES)))
        text, questions = deck.pop()
        slots = cast(rng)
        question = rng.choice(list(questions))
        return {
            "passage": text.format(**slots),
            "question": question.format(**slots),
            "answer": questions[question].format(**slots),
        }

    return distinct(draw, lambda item: item["passage"], count)
