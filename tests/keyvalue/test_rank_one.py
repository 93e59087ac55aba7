"""The output of the edited map is v* at the key that the update was solved for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.keyvalue.keys import SubjectKeys, mixed, prefixed, unprefixed
from editcore.keyvalue.rank_one import denominator_of, solve_rank_one
from editcore.keyvalue.second_moment import SecondMoment

D_KEY, D_MODEL = 6, 4


def drawn(seed: int) -> tuple[torch.Tensor, SubjectKeys, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(D_MODEL, D_KEY, generator=generator)
    keys = torch.randn(5, D_KEY, generator=generator) + 1
    samples = torch.randn(40, D_KEY, generator=generator)
    value = torch.randn(D_MODEL, generator=generator)
    return weight, SubjectKeys(keys, keys @ weight.T), samples.T @ samples / 40, value


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([mixed, prefixed, unprefixed]), st.booleans())
def test_the_edited_map_gives_the_value_at_its_key(seed, strategy, with_moment) -> None:
    weight, keys, matrix, value = drawn(seed)
    moment = SecondMoment.from_matrix(0, matrix, 40) if with_moment else None
    pair = strategy(keys)
    edit = solve_rank_one(value, pair, moment)
    if edit.denominator < 1e-2:
        return
    edited = weight + edit.update.dense()
    torch.testing.assert_close(edited @ pair.solve, value, rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_the_keys_match_fully_if_they_are_one_and_whatever_the_value(seed, with_moment) -> None:
    _, keys, matrix, value = drawn(seed)
    moment = SecondMoment.from_matrix(0, matrix, 40) if with_moment else None
    assert solve_rank_one(value, prefixed(keys), moment).key_match == 1
    mixed_keys = mixed(keys)
    edit = solve_rank_one(value, mixed_keys, moment)
    assert edit.key_match == solve_rank_one(3 * value, mixed_keys, moment).key_match
    u = edit.update.inputs[:, 0].double()
    own = float((u @ mixed_keys.direction.double()).abs())
    assert edit.key_match * own == pytest.approx(edit.denominator, rel=1e-4)
    assert denominator_of(mixed_keys, moment) == pytest.approx(edit.denominator, rel=1e-9)


def test_it_is_the_least_change_under_the_moment() -> None:
    weight, keys, matrix, value = drawn(1)
    pair = prefixed(keys)
    edit = solve_rank_one(value, pair, SecondMoment.from_matrix(0, matrix, 40)).update.dense()
    other = solve_rank_one(value, pair, None).update.dense()
    cost = lambda change: float(torch.trace(change @ matrix @ change.T))  # noqa: E731
    assert cost(edit) < cost(other)
    assert torch.allclose((weight + other) @ pair.solve, value, atol=1e-3)


def test_the_numbers_are_those_of_the_table() -> None:
    _, keys, _, value = drawn(2)
    pair = mixed(keys)
    edit = solve_rank_one(value, pair, None)
    unit = pair.direction / pair.direction.norm()
    assert edit.denominator == pytest.approx(abs(float(unit @ pair.solve)), rel=1e-5)
    assert edit.numerator_norm == pytest.approx(float((value - pair.solve_output).norm()), rel=1e-5)
    assert edit.update.norm() == pytest.approx(edit.numerator_norm / edit.denominator, rel=1e-4)
