"""Predicts how much a weight change will change a layer's outputs, before any weight changes.

A change Δ of a linear map adds Δx to the map's output at each token of running text. It is compared
with the output Wx at the same token, and the mean is taken over tokens. In contrast to a ratio of
means over all tokens (`editcore.collapse.predictor`), a few tokens with very large outputs, as many
models have at the first position, count no more than others; and C is not needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.models import hooks
from editcore.models.anatomy import LINEAR
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows
from editcore.updates.delta import Delta, LowRankUpdate, Update

# Of running text; enough for a mean over tokens, and few to pass through a large model.
TOKENS = 1024
KINDS = ("weight", "bias")


@dataclass(frozen=True)
class _Seen:
    """A map's inputs x over running text, and the norm of its output at each token."""

    inputs: Float[Tensor, "token d_in"]
    sizes: Float[Tensor, " token"]


@dataclass(frozen=True)
class OutputChange:
    """Measures weight changes of one model on running text without applying them."""

    model: LoadedModel
    texts: Sequence[PaddedRows]
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def of(self, delta: Delta) -> float | None:
        """The mean over tokens of ‖Δx‖ / ‖Wx‖; those of several maps add in quadrature.

        0 without changes; None if a changed parameter is not of a linear map in a block.
        """
        if not all(map(self._is_linear, delta.updates)):
            return None
        squares = [self._squares(name, update) for name, update in delta.updates.items()]
        return float(torch.stack(squares).sum(0).sqrt().mean()) if squares else 0.0

    def _is_linear(self, name: str) -> bool:
        path, _, kind = name.rpartition(".")
        model, layer = self.model.model, self.model.parts.block_of(name)
        return layer is not None and kind in KINDS and isinstance(model.get_submodule(path), LINEAR)

    def _squares(self, name: str, update: Update) -> Float64[Tensor, " token"]:
        """‖Δx‖² / ‖Wx‖² at each token for the change of one parameter."""
        path, _, kind = name.rpartition(".")
        if path not in self._seen:
            self._seen[path] = self._record(path)
        seen = self._seen[path]
        x, sizes = seen.inputs, seen.sizes.double()
        if kind == "bias":
            return update.dense().to(x).double().square().sum() / sizes.square()
        if isinstance(update, LowRankUpdate):
            factors, outputs = (x @ update.inputs.to(x)).double(), update.outputs.to(x).double()
            added = ((factors @ (outputs.T @ outputs)) * factors).sum(1).clamp_min(0)
        else:
            added = (x @ update.dense().to(x).T).double().square().sum(1)
        return added / sizes.square()

    @torch.no_grad()
    def _record(self, path: str) -> _Seen:
        """Pass running text through the model, and keep what is needed of the map at `path`."""
        found: list[_Seen] = []
        for rows in self.texts:
            left = TOKENS - sum(len(each.sizes) for each in found)
            if left > 0:
                few = torch.arange(min(len(rows.ids), math.ceil(left / rows.length)))
                found.append(self._pass(path, rows.rows(few)))
        inputs, sizes = (
            torch.cat(part) for part in zip(*((e.inputs, e.sizes) for e in found), strict=True)
        )
        return _Seen(inputs, sizes)

    def _pass(self, path: str, rows: PaddedRows) -> _Seen:
        reader, there = self.model.frozen, rows.mask.bool()
        module = reader.model.get_submodule(path)
        with reader.arithmetic(), hooks.recording(module, stop=True) as seen:
            reader.model.base_model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
        assert seen.input is not None and seen.output is not None
        sizes = seen.output[there].float().norm(dim=1)
        smallest = torch.finfo(torch.float32).tiny
        return _Seen(seen.input[there].float(), sizes.clamp_min(smallest))
