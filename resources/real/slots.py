"""Fills the slots of templates with words drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from resources.real import words

KINDS = {
    "job": words.JOBS,
    "animal": words.ANIMALS,
    "thing": words.THINGS,
    "food": words.FOODS,
    "fruit": words.FRUIT,
    "colour": words.COLOURS,
    "place": words.PLACES,
    "town": words.TOWNS,
    "day": words.DAYS,
    "number": words.NUMBERS,
    "study": words.SUBJECTS,
    "instrument": words.INSTRUMENTS,
}
ItemT = TypeVar("ItemT")


def cast(rng: random.Random) -> dict[str, str]:
    """A word for every slot; `job2` is another `job`, and so on; two people with their pronouns."""
    slots: dict[str, str] = {}
    for kind, options in KINDS.items():
        first, second = rng.sample(options, 2)
        slots |= {kind: first, f"{kind}2": second}
    for end in ("", "2"):
        woman = rng.random() < 0.5
        names = [n for n in (words.WOMEN if woman else words.MEN) if n not in slots.values()]
        he, his, him = ("she", "her", "her") if woman else ("he", "his", "him")
        slots |= {f"name{end}": rng.choice(names), f"he{end}": he, f"his{end}": his}
        slots |= {f"him{end}": him, f"He{end}": he.capitalize(), f"His{end}": his.capitalize()}
    return slots


def distinct(draw: Callable[[], ItemT], key: Callable[[ItemT], str], count: int) -> list[ItemT]:
    """`count` draws with distinct keys; raises `ValueError` if there are too few."""
    found: dict[str, ItemT] = {}
    for _ in range(50 * count):
        item = draw()
        found.setdefault(key(item), item)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"only {len(found)} of {count} items differ; write more templates")
