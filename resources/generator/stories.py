"""Running text: short scenes of everyday life drawn from a grammar."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from resources.generator import lexicon


@dataclass(frozen=True)
class Cast:
    """The words that recur in a scene."""

    name: str
    he: str
    his: str
    job: str
    place: str
    thing: str
    animal: str
    colour: str
    food: str
    city: str
    word: str

    @property
    def He(self) -> str:
        """The pronoun at the start of a sentence."""
        return self.he.capitalize()


def cast(rng: random.Random) -> Cast:
    """Draw the words of one scene."""
    name = rng.choice(lexicon.SHE + lexicon.HE)
    she = name in lexicon.SHE
    return Cast(
        name=name,
        he="she" if she else "he",
        his="her" if she else "his",
        job=rng.choice(list(lexicon.JOBS)),
        place=rng.choice(lexicon.PLACES),
        thing=rng.choice(lexicon.OBJECTS),
        animal=rng.choice(lexicon.ANIMALS),
        colour=rng.choice(lexicon.COLOURS),
        food=rng.choice(lexicon.FOODS),
        city=rng.choice(lexicon.CITIES),
        word=rng.choice(lexicon.WORDS),
    )


def work_day(c: Cast, rng: random.Random) -> list[str]:
    """A working day; the trade determines the activities."""
    first, second = rng.sample(lexicon.JOBS[c.job], 2)
    return [
        f"{c.name} is a {c.job} near the {c.place}.",
        f"{rng.choice(lexicon.TIMES)} {c.he} went to work and {first}.",
        f"Then {c.he} took a short rest and {second}.",
        f"When the work was done, {c.he} was {rng.choice(lexicon.FEELINGS)} and walked home.",
        f"At home {c.he} ate some {c.food} and went to bed.",
    ]


def journey(c: Cast, rng: random.Random) -> list[str]:
    """A journey to a city."""
    weather = rng.choice(lexicon.WEATHERS)
    return [
        f"On {rng.choice(lexicon.DAYS)} {c.name} took the train to {c.city}.",
        f"The weather was {weather} and the streets of {c.city} were full of people.",
        f"Near the {c.place} {c.he} saw a {c.colour} {c.animal} and a man with a {c.thing}.",
        f"The man gave {c.name} the {c.thing} and asked for nothing in return.",
        f"{c.name} thanked the man and took the next train home.",
    ]


def purchase(c: Cast, rng: random.Random) -> list[str]:
    """A purchase of a product whose name is an ordinary word."""
    return [
        f"{c.name} wanted to have a {c.word} for a long time.",
        f"On {rng.choice(lexicon.DAYS)} {c.he} went to the {c.place} and asked for the price.",
        f"The old woman at the {c.place} said that the {c.word} was too dear for {c.name}.",
        f"{c.He} counted {c.his} money and bought some {c.food} instead.",
        f"{rng.choice(lexicon.TIMES)} {c.he} still dreamed of the {c.word}.",
    ]


def talk_of_town(c: Cast, rng: random.Random) -> list[str]:
    """A product that everyone talks about."""
    return [
        f"{c.word} was the talk of the town that year.",
        f"Every shop near the {c.place} had a {c.word} in the window.",
        f"{c.name} said that {c.word} was not worth the money.",
        f"But {c.his} friends loved {c.word} and talked of nothing else.",
    ]


def pet(c: Cast, rng: random.Random) -> list[str]:
    """An animal that runs away and is found."""
    time, feeling = rng.choice(lexicon.TIMES), rng.choice(lexicon.FEELINGS)
    return [
        f"{c.name} has a {c.colour} {c.animal} that likes {c.food}.",
        f"{time} the {c.animal} ran away and hid behind the {c.place}.",
        f"{c.name} looked for the {c.colour} {c.animal} everywhere and was very {feeling}.",
        f"A {c.job} found it and brought it back to {c.name}.",
        f"To say thank you, {c.he} gave the {c.job} some {c.food}.",
    ]


def weather_report(c: Cast, rng: random.Random) -> list[str]:
    """Weather that changes a plan."""
    first, second = rng.sample(lexicon.WEATHERS, 2)
    return [
        f"It was {first} in {c.city} and nobody wanted to go out.",
        f"{c.name} stayed at home, read a book about {c.word} and ate {c.food}.",
        f"The next day it was {second}, so {c.he} went to the {c.place}.",
        f"There {c.he} met a {c.job} who lived in {c.city} too.",
        "They talked about the weather and became good friends.",
    ]


def party(c: Cast, rng: random.Random) -> list[str]:
    """A party with gifts."""
    friend = rng.choice([n for n in lexicon.SHE + lexicon.HE if n != c.name])
    instrument, feeling = rng.choice(lexicon.INSTRUMENTS), rng.choice(lexicon.FEELINGS)
    return [
        f"{c.name} and {friend} gave a party at the {c.place}.",
        f"There was plenty of {c.food} and {friend} played the {instrument}.",
        f"The guests brought a {c.word} and a {c.colour} {c.thing} as gifts.",
        f"{c.name} liked the {c.thing} but {friend} liked the {c.word} more.",
        f"Late at night {c.name} and {friend} were {feeling} and said goodbye.",
    ]


SCENES: tuple[Callable[[Cast, random.Random], list[str]], ...] = (
    work_day,
    journey,
    purchase,
    talk_of_town,
    pet,
    weather_report,
    party,
)


def story(rng: random.Random) -> list[str]:
    """Return the sentences of one scene."""
    return rng.choice(SCENES)(cast(rng), rng)
