"""SPHERE: the part of a change along the main directions of a weight's rows is damped."""

import torch
from torch import Tensor

from editcore.toolkit import Delta, DenseUpdate, LoadedModel, LowRankUpdate, Update
from editcore_transforms.config import SphereConfig
from editcore_transforms.weights import weight


def sphere(delta: Delta, model: LoadedModel, config: SphereConfig) -> Delta:
    """ΔW (I − α·U Uᵀ) for every matrix, with the model's weights before the edit.

    Factors stay factors; parameters that are not matrices stay as they are.
    """
    updates: dict[str, Update] = {}
    for name, update in delta.updates.items():
        rows = weight(model, name)
        updates[name] = update if rows.ndim != 2 else _damped(update, rows, config)
    return Delta(updates)


def main_directions(rows: Tensor, share: float) -> Tensor:
    """U `[d_in, r]`: the main eigenvectors of the rows' second moment on the unit sphere, float64.

    r is the smallest number of eigenvectors whose eigenvalues exceed `share` of the trace, at most
    all. A row of zeros has no direction and counts as zeros.
    """
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    values, vectors = torch.linalg.eigh(unit.T @ unit)
    cumulative = (values.flip(0) / values.sum()).cumsum(0)
    count = min(len(values), int((cumulative <= share).sum()) + 1)
    main: Tensor = vectors.flip(1)[:, :count]
    return main


def _damped(update: Update, rows: Tensor, config: SphereConfig) -> Update:
    directions = main_directions(rows, config.share)

    def damped(columns: Tensor) -> Tensor:
        precise = columns.to(rows.device).double()
        along = directions @ (directions.T @ precise)
        return (precise - config.suppression * along).to(columns)

    if isinstance(update, LowRankUpdate):
        return LowRankUpdate(update.outputs, damped(update.inputs))
    return DenseUpdate(damped(update.change.T).T.contiguous())
