"""The rank-one update that makes a linear map's output v* at one key (Meng et al. 2022, eq. 2)."""

from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor

from editcore.keyvalue.keys import KeyPair
from editcore.keyvalue.second_moment import SecondMoment
from editcore.updates.delta import LowRankUpdate


@dataclass(frozen=True)
class RankOne:
    """Δ = (v* − W k_s) uᵀ / (uᵀk_s), in which u is C⁻¹k_u scaled to unit length.

    `numerator_norm` is ‖v* − W k_s‖ and `denominator` |uᵀk_s|: the quantities of Table 1 of "The
    Fall of ROME". A small denominator makes a large update. `key_match` is |uᵀk_s| / |uᵀk_u|: the
    denominator relative to the one that the key of the direction would have itself. It is 1 if both
    keys are one, is near zero if they differ much, and does not depend on v*.
    """

    update: LowRankUpdate
    numerator_norm: float
    denominator: float
    key_match: float


def solve_rank_one(
    value: Float[Tensor, " d_model"], keys: KeyPair, moment: SecondMoment | None
) -> RankOne:
    """The update for v*, solved in float64 and kept in float32; without a moment, C is I."""
    unit = direction_of(keys, moment)
    numerator = (value - keys.solve_output).double().cpu()
    denominator = unit @ keys.solve.double().cpu()
    own = unit @ keys.direction.double().cpu()
    update = LowRankUpdate((numerator / denominator)[:, None].float(), unit[:, None].float())
    match = float((denominator / own).abs())
    return RankOne(update, float(numerator.norm()), float(denominator.abs()), match)


def denominator_of(keys: KeyPair, moment: SecondMoment | None) -> float:
    """|uᵀk_s|, which is known before v* is; without a moment, C is I."""
    return float((direction_of(keys, moment) @ keys.solve.double().cpu()).abs())


def direction_of(keys: KeyPair, moment: SecondMoment | None) -> Float64[Tensor, " d_key"]:
    """u: C⁻¹k_u, scaled to unit length; without a moment, C is I."""
    direction = keys.direction.double().cpu() if moment is None else moment.solve(keys.direction)
    unit: Float64[Tensor, " d_key"] = direction / direction.norm()
    return unit
