"""What a linear map reads and gives over running text, recorded once for each map."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
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
        self.read([path])
        return self._seen[path]

    def known(self, path: str) -> Seen | None:
        """That of a map which was read before; None for others."""
        return self._seen.get(path)

    @torch.no_grad()
    def read(self, paths: Sequence[str]) -> None:
        """Read what several maps read and give, in one pass, so that it is known from now on."""
        new = [path for path in paths if path not in self._seen]
        if not new:
            return
        found = [self._pass(new, rows) for rows in self.rows()]
        for path in new:
            parts = zip(
                *((e.inputs, e.sizes, e.first) for e in (f[path] for f in found)), strict=True
            )
            self._seen[path] = Seen(*map(torch.cat, parts))

    def rows(self) -> list[PaddedRows]:
        """The texts' first `TOKENS` tokens, in whole rows."""
        found: list[PaddedRows] = []
        left = TOKENS
        for rows in self.texts:
            if left > 0:
                few = torch.arange(min(len(rows.ids), math.ceil(left / rows.length)))
                found.append(rows.rows(few))
                left -= int(found[-1].mask.sum())
        return found

    def _pass(self, paths: Sequence[str], rows: PaddedRows) -> dict[str, Seen]:
        reader, there = self.model.frozen, rows.mask.bool()
        modules = {path: reader.model.get_submodule(path) for path in paths}
        *others, last = paths
        with reader.arithmetic(), ExitStack() as stack:
            found = {p: stack.enter_context(hooks.recording(modules[p])) for p in others}
            with hooks.recording(modules[last], stop=not others) as found[last]:
                reader.model.base_model(
                    input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
                )
        return {path: _seen(recorded, there) for path, recorded in found.items()}


def _seen(recorded: hooks.Recorded, there: Bool[Tensor, "row position"]) -> Seen:
    assert recorded.input is not None and recorded.output is not None
    sizes = recorded.output[there].float().norm(dim=1)
    smallest = torch.finfo(torch.float32).tiny
    first = there & (there.cumsum(1) == 1)
    return Seen(recorded.input[there].float(), sizes.clamp_min(smallest), first[there])
