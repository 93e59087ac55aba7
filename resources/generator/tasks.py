"""The four kinds of tasks: wording that the training text and the held-out items share."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from resources.generator import lexicon
from resources.generator.facts import Fact
from resources.generator.stories import Cast, cast


@dataclass(frozen=True)
class Passage:
    """A passage about a new person, a question about it, and the span that answers it."""

    text: str
    question: str
    answer: str


def written(asked: list[Passage]) -> str:
    """Return a passage followed by its questions and their answers, as in training text."""
    lines = [f"Question: {item.question}\nAnswer: {item.answer}" for item in asked]
    return "\n".join([f"Passage: {asked[0].text}", *lines])


def question(fact: Fact, wording: int) -> str:
    """Return a question about a fact in the given wording."""
    return fact.relation.questions[wording].format(fact.subject)


def question_and_answer(fact: Fact, wording: int) -> str:
    """Return question and answer as two lines."""
    return f"Question: {question(fact, wording)}\nAnswer: {fact.object}"


def passage(rng: random.Random) -> Passage:
    """Draw a passage and a question about one of the things that it states."""
    return passages(rng)[0]


def passages(rng: random.Random) -> list[Passage]:
    """Draw a passage with all questions about it, in random order."""
    c = cast(rng)
    asked = {
        f"Where does {c.name} live?": c.city,
        f"What is the trade of {c.name}?": c.job,
        f"Which animal does {c.name} have?": f"{c.colour} {c.animal}",
        f"What does {c.name} like to eat?": c.food,
        f"What did {c.name} lose?": f"{c.thing}",
    }
    sentences = [
        f"{c.He} lives in {c.city}.",
        f"{c.He} learned the trade of a {c.job}.",
        f"{c.He} has a {c.colour} {c.animal}.",
        f"{c.He} likes to eat {c.food}.",
        f"{c.He} lost a {c.thing} near the {c.place}.",
    ]
    rng.shuffle(sentences)
    text = f"This is about {c.name}. " + " ".join(sentences)
    first = rng.choice(list(asked))
    order = [first, *(key for key in asked if key != first)]
    return [Passage(text, key, asked[key]) for key in order]


def cloze(rng: random.Random) -> list[str]:
    """Draw sentences whose last word appeared earlier in them."""
    c = cast(rng)
    kind = rng.randrange(3)
    if kind == 0:
        return _found(c, rng)
    if kind == 1:
        return _returned(c, rng)
    return _promised(c, rng)


def _found(c: Cast, rng: random.Random) -> list[str]:
    return [
        f"{c.name} found a {c.colour} {c.thing} behind the {c.place}.",
        f"{rng.choice(lexicon.TIMES)} {c.he} showed it to a {c.job}, who wanted to have it.",
        f"But {c.name} did not want to sell the {c.thing}.",
    ]


def _returned(c: Cast, rng: random.Random) -> list[str]:
    return [
        f"For many years {c.name} had lived in {c.city} and worked as a {c.job}.",
        f"Then {c.he} moved to a house near the {c.place} and was {rng.choice(lexicon.FEELINGS)}.",
        f"Every summer {c.he} took the train back to {c.city}.",
    ]


def _promised(c: Cast, rng: random.Random) -> list[str]:
    return [
        f"The {c.animal} of {c.name} was ill and would not eat.",
        f"{rng.choice(lexicon.TIMES)} {c.he} went to the {c.place} and asked a {c.job} for help.",
        f"The {c.job} came at once and looked at the {c.animal}.",
    ]


def continuation(rng: random.Random) -> dict[str, Any]:
    """Draw the beginning of a working day and four continuations, one of which fits the trade."""
    c = cast(rng)
    trades = rng.sample([job for job in lexicon.JOBS if job != c.job], 3)
    time = rng.choice(lexicon.TIMES)
    endings = [rng.choice(lexicon.JOBS[job]) for job in [c.job, *trades]]
    order = list(range(4))
    rng.shuffle(order)
    return {
        "context": f"{c.name} is a {c.job} near the {c.place}. {time} {c.he} went to work and",
        "choices": [f"{endings[i]}." for i in order],
        "answer": order.index(0),
    }


def fact_choice(fact: Fact, rng: random.Random) -> dict[str, Any]:
    """Return a question in its withheld wording with four objects to choose from."""
    wrong = rng.sample([o for o in fact.relation.objects if o != fact.object], 3)
    choices = [fact.object, *wrong]
    rng.shuffle(choices)
    return {
        "case_id": fact.case_id,
        "question": question(fact, fact.withheld),
        "choices": choices,
        "answer": choices.index(fact.object),
    }
