"""ENCORE's solve: least squares against C, earlier keys and the norm of the change."""

from typing import Any

import torch
from torch import Tensor

from editcore import EditContext
from editcore.toolkit import LowRankUpdate, RememberingEditor, Solve, weigh_against
from editcore_encore.config import EncoreConfig


class EncoreEditor(RememberingEditor[EncoreConfig]):
    """ENCORE, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + μI + S + K Kᵀ)⁻¹, in which S is the sum of K Kᵀ over earlier edits."""
        options = self.config

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            held = options.moment_weight * context.moments[layer].matrix
            held = held + options.norm_weight * torch.eye(len(held), dtype=torch.float64)
            if options.memory and state is not None:
                held = held + self.memory(state, layer)
            return LowRankUpdate(shares, weigh_against(keys, held).float())

        return solve
