"""MEMIT-Seq's solve: least squares against C and against the keys of earlier edits."""

from typing import Any

from torch import Tensor

from editcore import EditContext
from editcore.toolkit import (
    LowRankUpdate,
    RememberingEditor,
    Solve,
    solve_least_squares,
    weigh_against,
)
from editcore_memit_seq.config import MemitSeqConfig


class MemitSeqEditor(RememberingEditor[MemitSeqConfig]):
    """MEMIT-Seq, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + μS + K Kᵀ)⁻¹, in which S is the sum of K Kᵀ over earlier edits."""
        options = self.config

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            moment, weight = context.moments[layer], options.moment_weight
            if state is None:
                return solve_least_squares(shares, keys, moment, weight)
            held = weight * moment.matrix + options.memory_weight * self.memory(state, layer)
            return LowRankUpdate(shares, weigh_against(keys, held).float())

        return solve
