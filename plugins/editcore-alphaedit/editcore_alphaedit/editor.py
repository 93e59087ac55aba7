"""AlphaEdit's solve: least squares in the directions that running text hardly uses."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext, RequestError
from editcore.toolkit import (
    LayerKeys,
    LowRankUpdate,
    RememberingEditor,
    Solve,
    weigh_against,
    weigh_ridge,
)
from editcore_alphaedit.config import AlphaEditConfig


class AlphaEditEditor(RememberingEditor[AlphaEditConfig]):
    """AlphaEdit, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ P (P (K Kᵀ + S) P + L2·I)⁻¹, in which P projects on the kept directions.

        With their orthonormal basis Û, P = Û Ûᵀ and Δ = R (ÛᵀK)ᵀ (ÛᵀKKᵀÛ + ÛᵀSÛ + L2·I)⁻¹ Ûᵀ: a
        system whose size is the number of directions kept. It equals the released P (K Kᵀ + S) +
        L2·I, since that has a solution in the range of P.
        """
        bases = {layer: self._kept(context, layer) for layer in self.config.layers}

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            basis, l2 = bases[layer], self.config.l2
            inside = basis.T @ keys.double()
            if state is None:
                weighed = weigh_ridge(inside, l2)
            else:
                eye = torch.eye(len(inside), dtype=torch.float64)
                held = basis.T @ self.memory(state, layer) @ basis
                weighed = weigh_against(inside, held + l2 * eye)
            return LowRankUpdate(shares, (basis @ weighed).float())

        return solve

    def report(self, context: EditContext, state: Any, keys: LayerKeys) -> Mapping[str, float]:
        """The number of directions kept at each layer, their share of all, and C's least value."""
        found: dict[str, float] = {}
        for layer in keys:
            every, rank = self._kept(context, layer).shape
            found |= {f"kept_rank.{layer}": rank, f"kept_share.{layer}": rank / every}
            found[f"least_eigenvalue.{layer}"] = float(context.spectra[layer].values[0])
        return found

    def _kept(self, context: EditContext, layer: int) -> Tensor:
        """The directions that may change, as columns; `RequestError` if there are none."""
        spectrum, options = context.spectra[layer], self.config
        if options.kept_share is not None:
            return spectrum.lowest(options.kept_share)
        if not (basis := spectrum.below(options.threshold)).shape[1]:
            least = float(spectrum.values[0])
            raise RequestError(
                f"the threshold {options.threshold:g} keeps none of the {len(basis)} directions at "
                f"layer {layer}, where the least eigenvalue of C is {least:.3g}; raise it, or give "
                "kept_share"
            )
        return basis
