"""The least-squares update for many keys and values at once (Meng et al. 2023, eq. 14).

Δ = R Kᵀ (λC + K Kᵀ)⁻¹ moves W k by about r for each column k of K and the same column r of R; the
larger λ, the less it changes the outputs at keys of running text, whose second moment is C.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.keyvalue.second_moment import SecondMoment, factored, solve_factored
from editcore.updates.delta import LowRankUpdate


def weigh(
    keys: Float[Tensor, "d_key case"], moment: SecondMoment, weight: float
) -> Float64[Tensor, "d_key case"]:
    """(λC + K Kᵀ)⁻¹K for keys K and λ = `weight`.

    By the push-through identity it is Z (I + KᵀZ)⁻¹ with Z = C⁻¹K / λ: C is factored only once, and
    each call solves a system whose size is the number of cases.
    """
    scaled = moment.solve(keys.T).T / weight
    system = torch.eye(keys.shape[1], dtype=torch.float64) + keys.double().cpu().T @ scaled
    weighed: Tensor = torch.linalg.solve(system, scaled.T).T
    return weighed


def weigh_ridge(keys: Float[Tensor, "d_key case"], weight: float) -> Float64[Tensor, "d_key case"]:
    """(μI + K Kᵀ)⁻¹K for keys K and μ = `weight`, from a system of the size of the cases."""
    keys = keys.double().cpu()
    system = weight * torch.eye(keys.shape[1], dtype=torch.float64) + keys.T @ keys
    weighed: Tensor = torch.linalg.solve(system, keys.T).T
    return weighed


def solve_against(
    keys: Float[Tensor, "d_key case"], matrix: Float64[Tensor, "d_key d_key"]
) -> Float64[Tensor, "d_key case"]:
    """A⁻¹K for keys K and any positive definite A, such as λC plus a multiple of the identity.

    NaN if A is not finite, which `Delta.finite` then reports.
    """
    keys = keys.double().cpu()
    factor = factored(matrix)
    return torch.full_like(keys, torch.nan) if factor is None else solve_factored(factor, keys)


def weigh_against(
    keys: Float[Tensor, "d_key case"], matrix: Float64[Tensor, "d_key d_key"]
) -> Float64[Tensor, "d_key case"]:
    """(A + K Kᵀ)⁻¹K for keys K and any positive semi-definite A, such as λC plus earlier keys."""
    keys = keys.double().cpu()
    return solve_against(keys, (keys @ keys.T).add_(matrix))


def solve_least_squares(
    residuals: Float[Tensor, "d_model case"],
    keys: Float[Tensor, "d_key case"],
    moment: SecondMoment,
    weight: float,
) -> LowRankUpdate:
    """Δ for residuals R and keys K, in float32; its rank is at most the number of cases."""
    return LowRankUpdate(residuals.cpu().float(), weigh(keys, moment, weight).float())
