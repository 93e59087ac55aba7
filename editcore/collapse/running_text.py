"""What a linear map reads and gives over running text, recorded once for each map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from editcore.models import hooks
from editcore.models.anatomy import LINEAR
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows

# Enough for a mean over tokens, and few to pass through a large model.
TOKENS = 1024
KINDS = ("weight", "bias")


@dataclass(frozen=True)
class Seen:
    """A map's input x at each token, the norm of its output there, and which tokens are first."""

    inputs: Float[Tensor, "token d_in"]
    sizes: Float[Tensor, " token"]
    first: Bool[Tensor, " token"]


@dataclass(frozen=True)
class RunningText:
    """About the first `TOKENS` tokens of some texts, as one unedited model reads them."""

    model: LoadedModel
    texts: Sequence[PaddedRows]
    _seen: dict[str, Seen] = field(default_factory=dict)

    def covers(self, parameter: str) -> bool:
        """Whether a parameter is the weight or the bias of a linear map in a block."""
        path, _, kind = parameter.rpartition(".")
        inside = self.model.parts.block_of(parameter) is not None
        return inside and kind in KINDS and isinstance(self.model.model.get_submodule(path), LINEAR)

    def at(self, path: str) -> Seen:
        """What the linear map at `path` in the model reads and gives."""
        if path not in self._seen:
            self._seen[path] = self._record(path)
        return self._seen[path]

    @torch.no_grad()
    def _record(self, path: str) -> Seen:
        found: list[Seen] = []
        for rows in self.texts:
            left = TOKENS - sum(len(each.sizes) for each in found)
            if left > 0:
                few = torch.arange(min(len(rows.ids), math.ceil(left / rows.length)))
                found.append(self._pass(path, rows.rows(few)))
        parts = zip(*((e.inputs, e.sizes, e.first) for e in found), strict=True)
        return Seen(*map(torch.cat, parts))

    def _pass(self, path: str, rows: PaddedRows) -> Seen:
        reader, there = self.model.frozen, rows.mask.bool()
        module = reader.model.get_submodule(path)
        with reader.arithmetic(), hooks.recording(module, stop=True) as seen:
            reader.model.base_model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
        assert seen.input is not None and seen.output is not None
        sizes = seen.output[there].float().norm(dim=1)
        smallest = torch.finfo(torch.float32).tiny
        first = there & (there.cumsum(1) == 1)
        return Seen(seen.input[there].float(), sizes.clamp_min(smallest), first[there])
