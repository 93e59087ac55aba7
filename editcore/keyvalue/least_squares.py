"""The least-squares update that binds many keys to many values at once (Meng et al. 2023, eq. 14).

Δ = R Kᵀ (λC + K Kᵀ)⁻¹ moves W k by about r for each key k of K and its residual r of R, while
λ holds back what it does to the keys of running text, whose second moment is C.
"""

import torch

from editcore.keyvalue.second_moment import SecondMoment
from editcore.updates.delta import LowRankUpdate


def weigh(keys: torch.Tensor, moment: SecondMoment, weight: float) -> torch.Tensor:
    """(λC + K Kᵀ)⁻¹K, `[d_key, n]` in float64, for n keys K `[d_key, n]` and λ = `weight`.

    By Woodbury's identity it is Z (I + KᵀZ)⁻¹ with Z = C⁻¹K / λ, so that C's own factor does for
    every edit and only an n x n system is solved anew.
    """
    scaled = moment.solve(keys.T).T / weight
    system = torch.eye(keys.shape[1], dtype=torch.float64) + keys.double().cpu().T @ scaled
    weighed: torch.Tensor = torch.linalg.solve(system, scaled.T).T
    return weighed


def solve_least_squares(
    residuals: torch.Tensor, keys: torch.Tensor, moment: SecondMoment, weight: float
) -> LowRankUpdate:
    """Δ for residuals R `[d_model, n]` and keys K `[d_key, n]`, of rank n, kept as float32."""
    return LowRankUpdate(residuals.cpu().float(), weigh(keys, moment, weight).float())
