"""RECT: the numbers of a change that are small relative to their weight become zero."""

import torch
from torch import Tensor

from editcore.toolkit import Delta, DenseUpdate, LoadedModel
from editcore_transforms.config import RectConfig
from editcore_transforms.weights import weight


def rect(delta: Delta, model: LoadedModel, config: RectConfig) -> Delta:
    """The change with only the share `keep` of each parameter's numbers, dense.

    Kept are those with the largest |Δ/W|; where W is zero, any change is among the largest.
    """
    return Delta(
        {
            name: DenseUpdate(kept(update.dense(), weight(model, name), config.keep))
            for name, update in delta.updates.items()
        }
    )


def kept(change: Tensor, original: Tensor, share: float) -> Tensor:
    """`change` with all but its N − ⌊(1 − share)·N⌋ relatively largest numbers set to zero."""
    size = change.double().abs() / original.to(change.device).double().abs()
    size = size.nan_to_num(nan=0.0, posinf=torch.inf).flatten()  # 0/0 is no change
    count = len(size) - int((1 - share) * len(size))
    chosen = size.topk(count, sorted=False).indices
    flat = change.flatten()
    return torch.zeros_like(flat).index_copy(0, chosen, flat[chosen]).view_as(change)
