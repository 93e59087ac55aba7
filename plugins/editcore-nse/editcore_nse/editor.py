"""NSE: rounds of least squares on the neurons that the edited keys use most."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext, RequestError
from editcore.toolkit import (
    Delta,
    LayerKeys,
    LowRankUpdate,
    RememberingEditor,
    Solve,
    Sought,
    combine_deltas,
    weigh_against,
)
from editcore_nse.config import NseConfig


class NseEditor(RememberingEditor[NseConfig]):
    """NSE, for one fact, or for many in one change."""

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + S + K Kᵀ)⁻¹ on the chosen neurons alone, zero on the others."""
        weight = self.config.moment_weight

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            chosen = largest(keys, self.config.neuron_share)
            held = weight * context.moments[layer].matrix[chosen][:, chosen]
            if state is not None:
                held = held + self.memory(state, layer)[chosen][:, chosen]
            weighed = torch.zeros_like(keys)
            weighed[chosen] = weigh_against(keys[chosen], held).float()
            return LowRankUpdate(shares, weighed)

        return solve

    def write(
        self, context: EditContext, cases: Sequence[Sought], solve: Solve
    ) -> tuple[Delta, LayerKeys]:
        """The sum of all rounds; the keys are those of all facts, in the edited model."""
        model, total = context.model.model, Delta({})
        for done in range(self.config.rounds):
            with total.applied(model):
                if not (waiting := self._waiting(context, cases, first=not done)):
                    break
                change = self.spread(context, waiting, solve)
            total = combine_deltas([total, change])
        with total.applied(model):
            keys = {n: self.observe(context, cases, n)[0] for n in self.config.layers}
        return total, keys

    def _waiting(
        self, context: EditContext, cases: Sequence[Sought], *, first: bool
    ) -> list[Sought]:
        """The facts that are neither near their z nor far from it.

        Raises `RequestError` if there are none even before any change.
        """
        last = self.config.layers[-1]
        _, reached = self.observe(context, cases, last)
        targets = torch.stack([case.value.target for case in cases]).cpu()
        away = (targets - reached.T).norm(dim=1).tolist()
        near, far = self.config.near, self.config.far
        waiting = [case for case, d in zip(cases, away, strict=True) if near < d < far]
        if first and not waiting:
            raise RequestError(
                f"no fact is between {near:g} and {far:g} away from its z (the nearest is "
                f"{min(away):.3g} away, the farthest {max(away):.3g}); set near and far around that"
            )
        return waiting


def largest(keys: Tensor, share: float) -> Tensor:
    """The neurons with the largest Σ|k|, as many as together have at most this share of it.

    >>> largest(torch.tensor([[1.0], [-5.0], [4.0]]), 0.9).tolist()
    [1, 2]
    """
    sizes, order = keys.double().abs().sum(1).sort(descending=True)
    within = sizes.cumsum(0) <= share * sizes.sum() * (1 + 1e-12)
    return order[: max(1, int(within.sum()))].sort().values
