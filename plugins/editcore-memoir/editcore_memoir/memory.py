"""The residual memory and its masks: the state of a sequence, saved and restored as tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Tokens that are routed at a time, which bounds the memory that their masks take.
TOKENS = 4096


@dataclass(frozen=True)
class Memory:
    """M `[d_out, d_in]`, the masks of all edits `[entry, d_in]`, and what masks are made with.

    `background` `[d_in]` is x̄, and `permutation` `[d_in]` the column to which each one moves.
    """

    weight: Tensor
    masks: Tensor
    background: Tensor
    permutation: Tensor

    @classmethod
    def empty(cls, background: Tensor, d_out: int, seed: int) -> "Memory":
        """No entries, M zero, and the permutation that the seed gives."""
        d_in, device = len(background), background.device
        order = torch.randperm(d_in, generator=torch.Generator().manual_seed(seed))
        masks = torch.zeros(0, d_in, dtype=torch.bool, device=device)
        return cls(background.new_zeros(d_out, d_in), masks, background, order.to(device))

    def hashed(self, inputs: Tensor, active: int) -> Tensor:
        """TopHash: the mask of each of `[n, d_in]`, with `active` columns."""
        largest = (inputs.to(self.background) - self.background).abs().topk(active, dim=1).indices
        masks = torch.zeros(inputs.shape, dtype=torch.bool, device=inputs.device)
        return masks.scatter_(1, self.permutation[largest], True)

    def routed(self, inputs: Tensor, active: int, threshold: float) -> Tensor:
        """The stored mask for each of `[n, d_in]`; no column if none has enough in common.

        Each input is routed alone, so neither its batch nor padding matters. Of equally good masks,
        the first.
        """
        own = self.hashed(inputs, active)
        if not len(self.masks):
            return torch.zeros_like(own)
        common = own.float() @ self.masks.float().T
        best = common.max(1)
        return self.masks[best.indices] & (best.values >= threshold * active)[:, None]

    def added(self, inputs: Tensor, active: int, threshold: float) -> Tensor:
        """M (x ⊙ m) for each of `[*place, d_in]`, `[*place, d_out]`."""
        found = [
            (part.to(self.weight) * self.routed(part, active, threshold)) @ self.weight.T
            for part in inputs.reshape(-1, inputs.shape[-1]).split(TOKENS)
        ]
        return torch.cat(found).reshape(*inputs.shape[:-1], len(self.weight))

    def with_masks(self, masks: Tensor) -> "Memory":
        """With more entries."""
        return replace(self, masks=torch.cat([self.masks, masks]))

    def with_columns(self, columns: Tensor, values: Tensor) -> "Memory":
        """With other values `[d_out, n]` in n columns of M."""
        weight = self.weight.clone()
        weight[:, columns] = values
        return replace(self, weight=weight)

    def usage(self) -> dict[str, float]:
        """The number of entries, and the share of M's columns that some mask uses."""
        used = float(self.masks.any(0).double().mean())
        return {"entries": float(len(self.masks)), "used_share": used}

    def finite(self) -> bool:
        """Whether every number in it is finite."""
        return bool(self.weight.isfinite().all() and self.background.isfinite().all())

    def tensors(self) -> dict[str, Tensor]:
        """The memory as tensors; of M, the columns that are not zero."""
        columns = self.weight.any(0).nonzero()[:, 0]
        return {
            "columns": columns,
            "values": self.weight[:, columns].contiguous(),
            "masks": self.masks,
            "background": self.background,
            "permutation": self.permutation,
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device) -> "Memory":
        """The memory that `tensors` gave."""
        found = {name: tensor.to(device) for name, tensor in tensors.items()}
        background, values = found["background"], found["values"]
        weight = background.new_zeros(len(values), len(background))
        weight[:, found["columns"]] = values
        return cls(weight, found["masks"], background, found["permutation"])
