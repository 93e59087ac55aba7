"""BetaEdit's solve, and the projector that follows a sequence's edits."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext, RequestError
from editcore.toolkit import (
    Delta,
    LayerKeys,
    LowRankUpdate,
    MomentSpectrum,
    RememberingEditor,
    Solve,
    weigh_against,
)
from editcore_betaedit.config import BetaEditConfig


class BetaEditEditor(RememberingEditor[BetaEditConfig]):
    """BetaEdit, for one fact, or for many in one change.

    Its state also has the number of facts so far, `facts`, that number when the projector was last
    made, `renewed`, and from the first renewal on, each layer's kept directions, `kept.<layer>`.
    """

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ P (P (K Kᵀ + S + λ₁C) P + λ₂·I)⁻¹, in the coordinates of the kept directions.

        P is on both sides here and on the left in the released code; their solutions are the same.
        """
        bases = {layer: self._kept(context, state, layer) for layer in self.config.layers}

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            basis, options = bases[layer], self.config
            held = options.moment_weight * context.moments[layer].matrix
            if state is not None:
                held = held + self.memory(state, layer)
            eye = torch.eye(basis.shape[1], dtype=torch.float64)
            inside = basis.T @ held @ basis + options.l2 * eye
            weighed = basis @ weigh_against(basis.T @ keys.double(), inside)
            return LowRankUpdate(shares, weighed.float())

        return solve

    def remember(
        self, context: EditContext, state: Any, delta: Delta, keys: LayerKeys
    ) -> Mapping[str, Tensor]:
        """The state with one more edit's keys; every τ facts, also with a new projector."""
        before = {"facts": torch.tensor(0), "renewed": torch.tensor(0), **(state or {})}
        number = next(iter(keys.values())).shape[1]
        facts, renewed = before["facts"] + number, before["renewed"]
        after = {**before, **super().remember(context, state, delta, keys), "facts": facts}
        if facts - renewed < self.config.renew_every:
            return after
        kept = {f"kept.{layer}": self._renewed(context, after, layer) for layer in keys}
        return {**after, **kept, "renewed": facts.clone()}

    def report(self, context: EditContext, state: Any, keys: LayerKeys) -> Mapping[str, float]:
        """The number of directions kept at each layer."""
        return {f"kept_rank.{n}": self._kept(context, state, n).shape[1] for n in keys}

    def _renewed(self, context: EditContext, state: Mapping[str, Tensor], layer: int) -> Tensor:
        """The kept directions of (S / facts + λ₁C) / (1 + λ₁)."""
        weight = self.config.moment_weight
        mean = self.memory(state, layer) / state["facts"]
        mixed = (mean + weight * context.moments[layer].matrix) / (1 + weight)
        kept = MomentSpectrum.of_matrix(layer, mixed).below(self.config.threshold)
        return kept.contiguous()  # as it is after the file of a checkpoint, to the last bit

    def _kept(self, context: EditContext, state: Any, layer: int) -> Tensor:
        """The directions that may change, as columns; `RequestError` if there are none."""
        spectrum, threshold = context.spectra[layer], self.config.threshold
        kept = (state or {}).get(f"kept.{layer}")
        basis: Tensor = spectrum.below(threshold) if kept is None else kept
        if not basis.shape[1]:
            least = float(spectrum.values[0])
            raise RequestError(
                f"the threshold {threshold:g} keeps none of the {len(basis)} directions at layer "
                f"{layer}, where the least eigenvalue of C is {least:.3g}; raise it"
            )
        return basis
