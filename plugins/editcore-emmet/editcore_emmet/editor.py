"""EMMET's solve: the least change that gives every key its value."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext
from editcore.toolkit import LayerKeys, LowRankUpdate, Solve, SpreadingEditor, solve_against
from editcore_emmet.config import EmmetConfig


class EmmetEditor(SpreadingEditor[EmmetConfig]):
    """EMMET, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R D⁻¹ Kᵀ C′⁻¹ with C′ = λC + μI and D = Kᵀ C′⁻¹ K, for several facts plus a ridge."""

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            scaled = self._scaled(context, layer, keys)
            system = self._system(scaled, keys)
            return LowRankUpdate(shares, (scaled @ _inverse(system)).float())

        return solve

    def report(self, context: EditContext, state: Any, keys: LayerKeys) -> Mapping[str, float]:
        """The least eigenvalue of D at each layer: for many facts, what a denominator is for one.

        Near zero, the change is large.
        """
        systems = {n: self._system(self._scaled(context, n, k), k) for n, k in keys.items()}
        return {
            f"least_eigenvalue.{layer}": float(torch.linalg.eigvalsh(system)[0])
            for layer, system in systems.items()
        }

    def _scaled(self, context: EditContext, layer: int, keys: Tensor) -> Tensor:
        """C′⁻¹K, in float64."""
        moment, options = context.moments[layer], self.config
        if not options.norm_weight:
            return moment.solve(keys.T).T / options.moment_weight
        eye = torch.eye(len(keys), dtype=torch.float64)
        held = options.moment_weight * moment.matrix + options.norm_weight * eye
        return solve_against(keys, held)

    def _system(self, scaled: Tensor, keys: Tensor) -> Tensor:
        """D."""
        system = keys.double().T @ scaled
        ridge = self.config.ridge if len(system) > 1 else 0.0
        return system + ridge * torch.eye(len(system), dtype=torch.float64)


def _inverse(system: Tensor) -> Tensor:
    """D⁻¹, or the pseudo-inverse if D is singular, as with two facts that have one key."""
    if not system.isfinite().all():
        return torch.full_like(system, torch.nan)
    inverse: Tensor = torch.linalg.pinv(system, hermitian=True)
    return inverse
