"""EMMET gives every key its value with the least change, and for one fact it is C-ROME."""

import pytest
import torch
from editcore_emmet.config import EmmetConfig
from editcore_emmet.editor import EmmetEditor

from editcore import EditContext
from editcore.testing import tiny_context, tiny_requests
from editcore.toolkit import KeyPair, solve_rank_one

LAYER = 1
REQUESTS = tiny_requests()


def editor(**options: float) -> EmmetEditor:
    return EmmetEditor(EmmetConfig(layers=(LAYER,), **{"steps": 3, **options}))


def drawn(given: EditContext, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Residuals and keys."""
    generator = torch.Generator().manual_seed(number)
    width = len(given.moments[LAYER].matrix)
    return torch.randn(32, number, generator=generator), torch.randn(
        width, number, generator=generator
    )


@pytest.mark.parametrize("weight", [1.0, 1000.0])
def test_for_one_fact_it_is_the_update_of_c_rome(weight: float) -> None:
    """With k̄ in both places, whatever λ and the ridge."""
    given = tiny_context()
    residual, key = drawn(given, 1)
    nothing = torch.zeros(32)
    crome = solve_rank_one(residual[:, 0], KeyPair(key[:, 0], key[:, 0], nothing), given.moments[1])
    found = editor(moment_weight=weight).solver(given, None)(LAYER, residual, key)
    torch.testing.assert_close(found.dense(), crome.update.dense(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm_weight", [0.0, 3.0])
def test_without_ridge_every_key_gets_its_residual(norm_weight: float) -> None:
    given = tiny_context()
    residuals, keys = drawn(given, 5)
    solve = editor(ridge=0, norm_weight=norm_weight, moment_weight=10.0).solver(given, None)
    found = solve(LAYER, residuals, keys).dense() @ keys
    torch.testing.assert_close(found, residuals, rtol=1e-3, atol=1e-3)


def test_of_all_changes_that_do_so_it_costs_running_text_least() -> None:
    """tr(ΔCΔᵀ) is larger for Δ + N(I − K K⁺), which also gives every key its residual."""
    given = tiny_context()
    residuals, keys = drawn(given, 5)
    matrix = given.moments[LAYER].matrix
    best = editor(ridge=0).solver(given, None)(LAYER, residuals, keys).dense().double()
    free = torch.eye(len(keys)) - keys @ torch.linalg.pinv(keys)
    for seed in range(3):
        step = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed)) @ free
        other = best + 0.01 * step.double()
        assert torch.trace(other @ matrix @ other.T) > torch.trace(best @ matrix @ best.T)


def test_two_facts_with_one_key_get_the_mean_of_their_residuals() -> None:
    given = tiny_context()
    residuals, keys = drawn(given, 2)
    keys[:, 1] = keys[:, 0]
    found = editor(ridge=0).solver(given, None)(LAYER, residuals, keys).dense()
    mean = residuals.mean(1, keepdim=True).expand(-1, 2)
    torch.testing.assert_close(found @ keys, mean, rtol=1e-3, atol=1e-3)


def test_the_least_eigenvalue_is_reported() -> None:
    """For one fact it is kᵀ(λC)⁻¹k, so it falls as λ grows."""
    given = tiny_context()
    found = [
        editor(moment_weight=weight).edit(given, REQUESTS[:1]).diagnostics["least_eigenvalue.1"]
        for weight in (1.0, 10.0)
    ]
    assert found[0] == pytest.approx(10 * found[1])
    assert found[1] > 0


def test_one_layer_is_chosen_by_depth() -> None:
    assert EmmetConfig.for_depth(48) == {"layers": [17]}
