"""Minimal pairs: two similar sentences, one of them ungrammatical (as in BLiMP)."""

from __future__ import annotations

import random
from collections.abc import Callable

from resources.real.slots import cast, distinct

Pair = tuple[str, str]
Phenomenon = Callable[[dict[str, str], random.Random], Pair]
VERBS = (("likes", "like"), ("needs", "need"), ("sees", "see"), ("knows", "know"))
PARTICIPLES = (
    ("wrote", "written", "a letter"),
    ("took", "taken", "a photograph"),
    ("broke", "broken", "a window"),
    ("drove", "driven", "a lorry"),
    ("chose", "chosen", "a present"),
    ("ate", "eaten", "an orange"),
)


def agreement(slots: dict[str, str], rng: random.Random) -> Pair:
    """A verb agrees with its subject, not with a nearer noun."""
    one, many = rng.choice(VERBS)
    if rng.random() < 0.5:
        return _pair("The {job} who works with the {job2}s {} the {thing}.", one, many, slots)
    return _pair("The {job}s who work with the {job2} {} the {thing}.", many, one, slots)


def being(slots: dict[str, str], rng: random.Random) -> Pair:
    """Was or were, after a singular subject with a plural noun inside, or the reverse."""
    if rng.random() < 0.5:
        return _pair("The {thing} of the two {job}s {} {colour}.", "was", "were", slots)
    return _pair("The {thing}s of the {job} {} {colour}.", "were", "was", slots)


def number(slots: dict[str, str], rng: random.Random) -> Pair:
    """A determiner agrees with its noun."""
    good, bad = rng.choice((("these", "this"), ("those", "that")))
    return _pair("{name} bought {} {colour} {thing}s in {town}.", good, bad, slots)


def reflexive(slots: dict[str, str], rng: random.Random) -> Pair:
    """A reflexive agrees in gender with the subject of its clause."""
    own, other = ("herself", "himself") if slots["he"] == "she" else ("himself", "herself")
    verb = rng.choice(("hurt", "taught", "blamed", "warned"))
    return _pair(f"{{name}} {verb} {{}} near the {{place}}.", own, other, slots)


def participle(slots: dict[str, str], rng: random.Random) -> Pair:
    """`Has` is followed by the participle, not the past tense."""
    past, participle, thing = rng.choice(PARTICIPLES)
    return _pair(f"{{name}} has {{}} {thing} in {{town}}.", participle, past, slots)


def negative(slots: dict[str, str], rng: random.Random) -> Pair:
    """`Ever` needs a negation before it."""
    good, bad = rng.choice((("No", "Some"), ("No", "Every")))
    return _pair("{} {job} has ever been to the {place} of {town}.", good, bad, slots)


def pronoun(slots: dict[str, str], rng: random.Random) -> Pair:
    """A pronoun has the case of its position."""
    he, him = rng.choice((("she", "her"), ("he", "him"), ("they", "them"), ("we", "us")))
    if rng.random() < 0.5:
        return _pair("{name} gave the {thing} to {} on {day}.", him, he, slots)
    return _pair("On {day} {} gave the {thing} to {name}.", he, him, slots)


def question(slots: dict[str, str], rng: random.Random) -> Pair:
    """`Did` is followed by the infinitive."""
    base, past = rng.choice(
        (("buy", "bought"), ("see", "saw"), ("sell", "sold"), ("find", "found"))
    )
    return _pair("Where did {name} {} the {colour} {thing}?", base, past, slots)


def infinitive(slots: dict[str, str], rng: random.Random) -> Pair:
    """Some verbs take an infinitive, others the -ing form."""
    if rng.random() < 0.5:
        return _pair("{name} wants {} the {instrument}.", "to play", "playing", slots)
    return _pair("{name} enjoys {} the {instrument}.", "playing", "to play", slots)


def quantity(slots: dict[str, str], rng: random.Random) -> Pair:
    """`Many` is used with countable nouns, `much` with uncountable ones."""
    if rng.random() < 0.5:
        return _pair("There were not {} {thing}s in the {place}.", "many", "much", slots)
    water = rng.choice(("water", "money", "furniture", "light"))
    return _pair(f"There was not {{}} {water} in the {{place}} of {{town}}.", "much", "many", slots)


PHENOMENA: tuple[Phenomenon, ...] = (
    agreement,
    being,
    number,
    reflexive,
    participle,
    negative,
    pronoun,
    question,
    infinitive,
    quantity,
)


def _pair(template: str, good: str, bad: str, slots: dict[str, str]) -> Pair:
    """The sentence with the right and the wrong words in place of `{}`."""
    sentences = [template.replace("{}", words).format(**slots) for words in (good, bad)]
    return sentences[0], sentences[1]


def items(seed: int, count: int) -> list[dict[str, object]]:
    """Items with two sentences as choices, and the index of the grammatical one."""
    rng = random.Random(f"{seed}/grammar")
    found = [
        (make.__name__, *pair)
        for make in PHENOMENA
        for pair in _pairs(make, count // len(PHENOMENA), rng)
    ]
    rng.shuffle(found)
    return [_shuffled(*pair, rng) for pair in found]


def _pairs(make: Phenomenon, count: int, rng: random.Random) -> list[Pair]:
    return distinct(lambda: make(cast(rng), rng), lambda pair: pair[0], count)


def _shuffled(phenomenon: str, good: str, bad: str, rng: random.Random) -> dict[str, object]:
    """An item with the two sentences in random order."""
    answer = rng.randrange(2)
    choices = [good, bad] if answer == 0 else [bad, good]
    return {"phenomenon": phenomenon, "choices": choices, "answer": answer}
