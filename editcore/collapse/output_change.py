"""Predicts how much a weight change will change a layer's outputs, before any weight changes.

A change Δ of a linear map adds Δx to the map's output at each token of running text. It is compared
with the output Wx at the same token, and the mean is taken over tokens. In contrast to a ratio of
means over all tokens (`editcore.collapse.predictor`), a few tokens with very large outputs, as many
models have at the first position, count no more than others; and C is not needed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from editcore.collapse.running_text import RunningText
from editcore.updates.delta import Delta, LowRankUpdate, Update


@dataclass(frozen=True)
class OutputChange:
    """Measures weight changes of one model on running text without applying them."""

    text: RunningText

    def of(self, delta: Delta) -> float | None:
        """The mean over tokens of ‖Δx‖ / ‖Wx‖; those of several maps add in quadrature.

        0 without changes; None if a changed parameter is not of a linear map in a block.
        """
        if not all(map(self.text.covers, delta.updates)):
            return None
        squares = [self._squares(name, update) for name, update in delta.updates.items()]
        return float(torch.stack(squares).sum(0).sqrt().mean()) if squares else 0.0

    def _squares(self, name: str, update: Update) -> Float64[Tensor, " token"]:
        """‖Δx‖² / ‖Wx‖² at each token for the change of one parameter."""
        path, _, kind = name.rpartition(".")
        seen = self.text.at(path)
        x, sizes = seen.inputs, seen.sizes.double()
        if kind == "bias":
            return update.dense().to(x).double().square().sum() / sizes.square()
        if isinstance(update, LowRankUpdate):
            factors, outputs = (x @ update.inputs.to(x)).double(), update.outputs.to(x).double()
            added = ((factors @ (outputs.T @ outputs)) * factors).sum(1).clamp_min(0)
        else:
            added = (x @ update.dense().to(x).T).double().square().sum(1)
        return added / sizes.square()
