"""Span corruption, the training task of T5 encoders (Raffel et al. 2020, §3.1.4).

Each of several spans of a row is replaced by a sentinel. The text to predict is each sentinel
followed by its span, with one more sentinel at the end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

NOISE = 0.15
SPAN = 3.0
SENTINELS = 32


def sentinels(count: int = SENTINELS) -> list[str]:
    """Return the sentinels' texts."""
    return [f"<extra_id_{i}>" for i in range(count)]


def corrupt(
    row: Sequence[int], marks: Sequence[int], rng: random.Random
) -> tuple[list[int], list[int]]:
    """Return a row with its spans replaced, and the text to predict.

    Rows of one length give results of one length. A span may be at the start or end of the row.
    """
    noise = max(1, round(NOISE * len(row)))
    count = max(1, round(noise / SPAN))
    lengths = parts(noise - count, count, rng)
    gaps = parts(len(row) - noise - (count - 1), count + 1, rng)
    seen, written, at = [], [], 0
    for i, length in enumerate(lengths):
        gap = gaps[i] + (i > 0)  # spans must not touch, or one sentinel would replace both
        seen += [*row[at : at + gap], marks[i]]
        written += [marks[i], *row[at + gap : at + gap + length + 1]]
        at += gap + length + 1
    return [*seen, *row[at:]], [*written, marks[count]]


def parts(total: int, count: int, rng: random.Random) -> list[int]:
    """Return `count` numbers, each 0 or more, with the sum `total`, uniformly at random."""
    cuts = sorted(rng.sample(range(total + count - 1), count - 1))
    return [b - a - 1 for a, b in zip([-1, *cuts], [*cuts, total + count - 1], strict=True)]
