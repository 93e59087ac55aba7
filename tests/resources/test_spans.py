"""Span corruption loses nothing, and leaves every row of a length equally long."""

import random

import pytest

from resources.generator.spans import corrupt, parts

MARKS = list(range(32))


@pytest.mark.parametrize("length", [20, 64, 128])
def test_what_is_written_fills_what_is_seen(length: int) -> None:
    rng = random.Random(0)
    row = [100 + i for i in range(length)]
    lengths = set()
    for _ in range(200):
        seen, written = corrupt(row, MARKS, rng)
        lengths.add((len(seen), len(written)))
        spans: dict[int, list[int]] = {}
        for token in written:
            if token < 100:
                current = spans.setdefault(token, [])
            else:
                current.append(token)
        filled = [t for token in seen for t in (spans[token] if token < 100 else [token])]
        assert filled == row
    assert len(lengths) == 1


def test_spans_may_open_a_row_and_close_it() -> None:
    rng = random.Random(0)
    drawn = [corrupt(list(range(100, 164)), MARKS, rng)[0] for _ in range(400)]
    assert any(seen[0] < 100 for seen in drawn)
    assert any(seen[-1] < 100 for seen in drawn)
    assert any(seen[0] >= 100 for seen in drawn)


def test_parts_add_up() -> None:
    rng = random.Random(0)
    assert all(sum(parts(13, 4, rng)) == 13 for _ in range(100))
    assert {tuple(parts(1, 2, rng)) for _ in range(50)} == {(0, 1), (1, 0)}
