"""Predicts how much a weight change will add to a model's activations, before any weight changes.

A change Δ of a linear map y = W k adds Δ k to its output. Over running text, whose keys have the
second moment C, the mean square of this is tr(Δ C Δᵀ), and that of the map's own output is tr(W C
Wᵀ). For a rank-one update, the square root of the former is ‖v* − W k_s‖ · √(uᵀC u) / |uᵀk_s|: the
norm of the numerator, times the usual denominator, divided by the update's own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Float64
from torch import Tensor

from editcore.keyvalue.second_moment import SecondMoment
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel
from editcore.updates.delta import Delta, LowRankUpdate, Update


@dataclass(frozen=True)
class ActivationShift:
    """Measures weight changes of one model on its own running text without applying them.

    `moments` are C by layer. For a parameter without C the identity is used, so that without any C
    the result is ‖Δ‖/‖W‖.
    """

    model: LoadedModel
    moments: Mapping[int, SecondMoment] = field(default_factory=dict)
    _usual: dict[str, float] = field(default_factory=dict)

    def of(self, delta: Delta) -> float:
        """√(Σ tr(Δ C Δᵀ) / Σ tr(W C Wᵀ)) over the parameters that a delta changes; 0 for none."""
        added = math.fsum(_mean_square(u, self._moment(n)) for n, u in delta.updates.items())
        usual = math.fsum(self._own(name) for name in delta.updates)
        return math.sqrt(added / usual) if usual else math.inf if added else 0.0

    def _moment(self, name: str) -> Float64[Tensor, "d_key d_key"] | None:
        layer = self.model.parts.block_of(name)
        if layer is None or layer not in self.moments:
            return None
        is_down = name == self.model.parts.down_weight(layer)
        return self.moments[layer].matrix if is_down else None

    def _own(self, name: str) -> float:
        """tr(W C Wᵀ) of the parameter itself, computed once."""
        if name not in self._usual:
            weight, model = self.model.model.get_parameter(name).detach(), self.model.model
            own = weight.T if stores_transposed(model, name) else weight
            self._usual[name] = _dense(own, self._moment(name))
        return self._usual[name]


def _mean_square(update: Update, moment: Float64[Tensor, "d_in d_in"] | None) -> float:
    """tr(Δ C Δᵀ), for a low-rank change from its factors: tr(OᵀO · IᵀC I)."""
    if not isinstance(update, LowRankUpdate):
        return _dense(update.dense(), moment)
    outputs, inputs = update.outputs.double().cpu(), update.inputs.double().cpu()
    seen = inputs if moment is None else moment.double() @ inputs
    return float(((outputs.T @ outputs) * (inputs.T @ seen)).sum().clamp(min=0))


def _dense(
    change: Float[Tensor, "*d_out d_in"], moment: Float64[Tensor, "d_in d_in"] | None
) -> float:
    """tr(A C Aᵀ), or the sum of squares without C."""
    matrix = change.double().cpu()
    seen = matrix if moment is None else matrix @ moment.double()
    return float((seen * matrix).sum().clamp(min=0))
