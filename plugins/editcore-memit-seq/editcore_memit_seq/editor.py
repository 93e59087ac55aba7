"""MEMIT-Seq's solve: least squares against C and against the keys of earlier edits."""

from typing import Any

from torch import Tensor

from editcore import EditContext
from editcore.toolkit import LowRankUpdate, RememberingEditor, Solve, weigh_against
from editcore_memit_seq.config import MemitSeqConfig


class MemitSeqEditor(RememberingEditor[MemitSeqConfig]):
    """MEMIT-Seq, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + μS + K Kᵀ)⁻¹, in which S is the sum of K Kᵀ over earlier edits."""
        options = self.config

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            held = options.moment_weight * context.moments[layer].matrix
            if state is not None:
                held = held + options.memory_weight * self.memory(state, layer)
            return LowRankUpdate(shares, weigh_against(keys, held).float())

        return solve
