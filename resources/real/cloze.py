"""Short stories whose last word appears earlier in them, as in LAMBADA."""

from __future__ import annotations

import random

from resources.real.slots import cast, distinct

STORIES = (
    "{name} found a {colour} {thing} in the attic and carried it down to the kitchen. {name2} "
    "offered to buy it at once. But {name} shook {his} head and said that {he} would never sell "
    "the {thing}.",
    "For ten years {name} had worked as a {job} in {town}. Then {he} fell ill and had to move to "
    "the coast. Whenever the sun went down over the water, {he} thought of {his} old life as a "
    "{job}.",
    "The {animal} had not eaten for two days, and {name} was worried. {He} called {name2}, who "
    "came in the evening with a bag full of medicine. For an hour the two of them sat beside the "
    "{animal}.",
    "{name} and {name2} had agreed to meet in front of the {place} at noon. It began to rain, "
    "and {name} looked for a dry spot. When the clock struck one, {he} was still standing near "
    "the {place}.",
    "At the market {name} bought {number} {fruit} and a loaf of bread. On the way home the bag "
    "tore. {name2} came running and helped {him} to pick up the {fruit}.",
    '"Why do you want to study {study}?" asked {name2}. {name} had to think about it. "My '
    'grandfather had a shelf of old books," {he} said, "and every one of them was about {study}."',
    "Everyone in {town} knew that {name} played the {instrument}. On summer evenings the "
    "neighbours opened their windows and waited. One night it stayed quiet, because somebody had "
    "stolen the {instrument}.",
    "{name2} asked {name} to bring some {food} to the party. {name} spent the whole afternoon in "
    "the kitchen. At midnight, when all the other dishes were empty, nobody had touched the "
    "{food}.",
    "The concert was planned for {day}, but the singer missed her train. {name} wrote a new date "
    "on every poster in town. Then the singer called to say that she could come after all, and "
    "so it took place on {day}.",
    "{name} painted the door {colour}, because {he} had seen one like it in {town}. {name2} did "
    "not like it at all. In the end they agreed to paint the windows white and to keep the door "
    "{colour}.",
    "{name} had never been to {town}. {name2}, who was born there, drew {him} a map and marked "
    "the best cafés. A week later {he} stepped off the train with the map in {his} hand and was "
    "in {town}.",
    "When {name} opened the box, there was only a {thing} inside. {He} turned it over and saw a "
    "name on the bottom. It was the name of {name2}, who many years ago had lost a {thing}.",
)


def items(seed: int, count: int) -> list[dict[str, str]]:
    """Items with a story without its last word, and that word; all stories equally often."""
    rng = random.Random(f"{seed}/cloze")
    deck: list[str] = []

    def draw() -> dict[str, str]:
        if not deck:
            deck.extend(rng.sample(STORIES, len(STORIES)))
        return _cut(deck.pop().format(**cast(rng)))

    return distinct(draw, lambda item: item["context"], count)


def _cut(text: str) -> dict[str, str]:
    context, _, word = text.rstrip('."').rpartition(" ")
    return {"context": context, "word": word}
