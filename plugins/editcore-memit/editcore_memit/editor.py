"""MEMIT's solve: regularised least squares against C."""

from typing import Any

from torch import Tensor

from editcore import EditContext
from editcore.toolkit import LowRankUpdate, Solve, SpreadingEditor, solve_least_squares
from editcore_memit.config import MemitConfig


class MemitEditor(SpreadingEditor[MemitConfig]):
    """MEMIT, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + K Kᵀ)⁻¹ (Meng et al. 2023, eq. 14)."""
        weight = self.config.moment_weight

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            return solve_least_squares(shares, keys, context.moments[layer], weight)

        return solve
