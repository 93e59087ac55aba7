"""The update from the small system is the solution of the normal equations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.keyvalue.least_squares import (
    solve_against,
    solve_least_squares,
    weigh,
    weigh_against,
    weigh_ridge,
)
from editcore.keyvalue.second_moment import SecondMoment

D_KEY, D_MODEL = 24, 7


def drawn(seed: int, number: int) -> tuple[torch.Tensor, torch.Tensor, SecondMoment]:
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(20 * D_KEY, D_KEY, generator=generator, dtype=torch.float64)
    keys = torch.randn(D_KEY, number, generator=generator) + 1
    residuals = torch.randn(D_MODEL, number, generator=generator)
    return (
        residuals,
        keys,
        SecondMoment.from_matrix(0, samples.T @ samples / len(samples), len(samples)),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 2 * D_KEY), st.sampled_from([1e-3, 1.0, 15_000.0]))
def test_it_equals_the_dense_solve(seed: int, number: int, weight: float) -> None:
    residuals, keys, moment = drawn(seed, number)
    wide = keys.double()
    dense = torch.linalg.solve(weight * moment.matrix + wide @ wide.T, wide)
    for found in (weigh(keys, moment, weight), weigh_against(keys, weight * moment.matrix)):
        assert float((found - dense).norm() / dense.norm()) < 1e-10
    update = solve_least_squares(residuals, keys, moment, weight)
    torch.testing.assert_close(
        update.dense().double(), residuals.double() @ dense.T, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("number", [1, 2 * D_KEY])
def test_the_other_solves_equal_dense_ones(number: int) -> None:
    _, keys, moment = drawn(6, number)
    wide, eye = keys.double(), torch.eye(D_KEY, dtype=torch.float64)
    ridge = torch.linalg.solve(0.7 * eye + wide @ wide.T, wide)
    assert float((weigh_ridge(keys, 0.7) - ridge).norm() / ridge.norm()) < 1e-10
    plain = torch.linalg.solve(moment.matrix, wide)
    assert float((solve_against(keys, moment.matrix) - plain).norm() / plain.norm()) < 1e-10


def test_a_small_weight_gives_every_key_its_residual() -> None:
    residuals, keys, moment = drawn(1, 5)
    moved = solve_least_squares(residuals, keys, moment, 1e-6).dense() @ keys
    torch.testing.assert_close(moved, residuals, rtol=1e-3, atol=1e-3)


def test_a_large_weight_leaves_running_text_alone() -> None:
    """E‖Δk‖² over running text, which is tr(ΔCΔᵀ), falls as λ grows."""
    residuals, keys, moment = drawn(2, 5)
    changes = [
        solve_least_squares(residuals, keys, moment, weight).dense().double()
        for weight in (1e-3, 1, 1e3)
    ]
    costs = [float(torch.trace(change @ moment.matrix @ change.T)) for change in changes]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 1e-3 * costs[0]


def test_it_is_the_least_of_what_it_minimises() -> None:
    """λ tr(ΔCΔᵀ) + ‖ΔK − R‖² rises in every direction away from Δ."""
    residuals, keys, moment = drawn(3, 5)
    best = solve_least_squares(residuals, keys, moment, 2.0).dense().double()

    def cost(change: torch.Tensor) -> float:
        held = 2.0 * torch.trace(change @ moment.matrix @ change.T)
        return float(held + (change @ keys.double() - residuals.double()).norm() ** 2)

    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        step = 1e-2 * torch.randn(best.shape, generator=generator, dtype=torch.float64)
        assert cost(best + step) > cost(best) < cost(best - step)


def test_numbers_that_are_not_finite_stay_visible() -> None:
    residuals, keys, moment = drawn(4, 3)
    keys[0, 1] = float("nan")
    assert not solve_least_squares(residuals, keys, moment, 1.0).finite()
    assert weigh_against(keys, moment.matrix).isnan().all()


@pytest.mark.parametrize("number", [1, 4])
def test_the_rank_is_the_number_of_keys(number: int) -> None:
    residuals, keys, moment = drawn(5, number)
    update = solve_least_squares(residuals, keys, moment, 1.0)
    assert update.outputs.shape == (D_MODEL, number)
    assert update.inputs.shape == (D_KEY, number)
