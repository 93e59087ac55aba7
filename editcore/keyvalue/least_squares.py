"""The least-squares update that binds many keys to many values at once (Meng et al. 2023, eq. 14).

Δ = R Kᵀ (λC + K Kᵀ)⁻¹ moves W k by about r for each key k of K and its residual r of R, while
λ holds back what it does to the keys of running text, whose second moment is C.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.keyvalue.second_moment import SecondMoment
from editcore.updates.delta import LowRankUpdate


def weigh(
    keys: Float[Tensor, "d_key case"], moment: SecondMoment, weight: float
) -> Float64[Tensor, "d_key case"]:
    """(λC + K Kᵀ)⁻¹K for keys K and λ = `weight`.

    By Woodbury's identity it is Z (I + KᵀZ)⁻¹ with Z = C⁻¹K / λ, so that C's own factor does for
    every edit and only a system as large as their number is solved again.
    """
    scaled = moment.solve(keys.T).T / weight
    system = torch.eye(keys.shape[1], dtype=torch.float64) + keys.double().cpu().T @ scaled
    weighed: Tensor = torch.linalg.solve(system, scaled.T).T
    return weighed


def solve_least_squares(
    residuals: Float[Tensor, "d_model case"],
    keys: Float[Tensor, "d_key case"],
    moment: SecondMoment,
    weight: float,
) -> LowRankUpdate:
    """Δ for residuals R and keys K, of a rank that is the number of cases, kept as float32."""
    return LowRankUpdate(residuals.cpu().float(), weigh(keys, moment, weight).float())
