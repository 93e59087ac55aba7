"""PRUNE: the large singular values of the accumulated change are restrained."""

import math

import torch
from torch import Tensor

from editcore.toolkit import Delta, LoadedModel, LowRankUpdate, TransformResult, Update
from editcore_transforms.config import PruneConfig, Restraint
from editcore_transforms.weights import weight

BASES = {"log": math.e, "log2": 2.0, "log1_5": 1.5, "log1_2": 1.2}


def prune(delta: Delta, model: LoadedModel, config: PruneConfig) -> TransformResult:
    """The change of each matrix with restrained singular values; `model` is unedited.

    Parameters that are not matrices stay as they are. Reports how many singular values were
    restrained over all matrices (`clipped`), and the largest s / σ before (`largest_ratio`).
    """
    updates: dict[str, Update] = {}
    clipped, largest = 0, 0.0
    for name, update in delta.updates.items():
        original = weight(model, name)
        if original.ndim != 2:
            updates[name] = update
            continue
        updates[name], ratios = _pruned(update, original, config)
        clipped += int((ratios >= 1).sum())
        largest = max(largest, float(ratios.max()))
    return TransformResult(Delta(updates), {"clipped": clipped, "largest_ratio": largest})


def restrained(values: Tensor, limit: float, function: Restraint) -> Tensor:
    """Singular values with those of at least `limit` (σ) restrained."""
    if function == "linear":
        small = (values + limit) / 2
    else:
        small = (values.clamp(min=limit) / limit).log() / math.log(BASES[function]) + limit
    return torch.where(values >= limit, small, values)


def _pruned(update: Update, original: Tensor, config: PruneConfig) -> tuple[Update, Tensor]:
    """The restrained change, and all its singular values before, each over σ."""
    change = update.dense()
    limit = float(torch.linalg.matrix_norm(original.double(), 2))
    outputs, values, inputs = torch.linalg.svd(change.double(), full_matrices=False)
    rank = int((values > values[0] * torch.finfo(torch.float32).eps).sum())
    kept = restrained(values[:rank], limit, config.function)
    small = LowRankUpdate((outputs[:, :rank] * kept).to(change), inputs[:rank].T.to(change))
    return small, values / limit
