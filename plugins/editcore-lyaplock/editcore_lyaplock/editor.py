"""LyapLock's solve, and the queue that weighs running text against the edits."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext
from editcore.toolkit import (
    Delta,
    DenseUpdate,
    LayerKeys,
    RememberingEditor,
    Solve,
    Update,
    solve_against,
    solve_least_squares,
)
from editcore_lyaplock.config import LyapLockConfig

NAMES = ("change", "written", "queue", "budget")


class LyapLockEditor(RememberingEditor[LyapLockConfig]):
    """LyapLock, for one fact, or for many in one change.

    Besides S, its state has for each layer, in float64: the change since the start E
    (`change.<layer>`), the sum M of E K Kᵀ at the time of each edit (`written.<layer>`), the queue
    z relative to its least value (`queue.<layer>`, 1 while within budget), and the budget itself
    (`budget.<layer>`).
    """

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = (R Kᵀ + M − E S − λz E C) (K Kᵀ + S + λz C)⁻¹; the first edit is MEMIT's.

        It minimises ‖ΔK − R‖², plus how far outputs at earlier keys move from what they were after
        their edits, plus λz times how far those at running text are from the unedited model's.
        """
        weight = self.config.moment_weight

        def solve(layer: int, shares: Tensor, keys: Tensor) -> Update:
            moment = context.moments[layer]
            if state is None:
                return solve_least_squares(shares, keys, moment, weight)
            running = weight * float(state[f"queue.{layer}"]) * moment.matrix
            memory, since = self.memory(state, layer), state[f"change.{layer}"]
            keys = keys.double()
            wanted = shares.double() @ keys.T + state[f"written.{layer}"]
            wanted = wanted - since @ (memory + running)
            system = keys @ keys.T + memory + running
            return DenseUpdate(solve_against(wanted.T, system).T.float())

        return solve

    def remember(
        self, context: EditContext, state: Any, delta: Delta, keys: LayerKeys
    ) -> Mapping[str, Tensor]:
        """The state after one more edit, with each layer's queue."""
        after = dict(super().remember(context, state, delta, keys))
        for layer, found in keys.items():
            change = delta.updates[context.model.parts.down_weight(layer)].dense().double()
            old = None if state is None else [state[f"{name}.{layer}"] for name in NAMES]
            new = self._moved(context.moments[layer].matrix, old, change, found.double())
            after |= {f"{n}.{layer}": value for n, value in zip(NAMES, new, strict=True)}
        return after

    def _moved(
        self, matrix: Tensor, old: list[Tensor] | None, change: Tensor, keys: Tensor
    ) -> tuple[Tensor, ...]:
        """E, M, the queue and the budget of a layer, with C = `matrix`, after one more change."""
        zero, one = torch.zeros_like(change), torch.ones((), dtype=torch.float64)
        since, written, queue, budget = old or (zero, torch.zeros(()), one, 0 * one)
        since = since + change
        written = written + since @ keys @ keys.T
        harm = torch.trace(since @ matrix @ since.T)
        if not budget:  # no edit before this one has changed anything
            budget = self.config.budget * harm
        spent = harm / budget if budget else 0 * one
        return since, written, (queue + spent - 1).clamp(min=1), budget

    def report(self, context: EditContext, state: Any, keys: LayerKeys) -> Mapping[str, float]:
        """The queue of each layer that this edit was made with; 1 is within budget."""
        return {f"queue.{n}": 1.0 if state is None else float(state[f"queue.{n}"]) for n in keys}
