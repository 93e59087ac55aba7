"""The factors of a LoRA adapter that changes a model as a delta does.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) adds s·B·A to the weight of a linear map,
with A `[rank, d_in]` and B `[d_out, rank]`. With s = 1, Aᵀ and B are the factors of a low-rank
update, so an edit of rank n is an adapter of rank n, exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from editcore.errors import DataError
from editcore.models.anatomy import LINEAR
from editcore.numbers import listed
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, Update

WEIGHT = ".weight"
MERGE = "export the edited model instead (--format model)"


@dataclass(frozen=True)
class LoraFactors:
    """The change of each linear map as B·A, by the name of its weight; all have the same rank.

    `error` is ‖ΔW − BA‖ / ‖ΔW‖ over all maps together: 0 unless the rank was reduced.
    """

    updates: Mapping[str, LowRankUpdate]
    rank: int
    error: float = 0.0

    @property
    def delta(self) -> Delta:
        """The change of the adapter itself."""
        return Delta(self.updates)

    @property
    def paths(self) -> list[str]:
        """The linear maps that it changes, as paths in the model."""
        return [name.removesuffix(WEIGHT) for name in self.updates]

    def matrices(self, name: str) -> tuple[Float[Tensor, "rank d_in"], Float[Tensor, "d_out rank"]]:
        """A and B of a weight, each contiguous."""
        update = self.updates[name]
        return update.inputs.T.contiguous(), update.outputs.contiguous()


def lora_factors(delta: Delta, model: nn.Module, rank: int | None = None) -> LoraFactors:
    """The adapter of a delta; `model` may be without weights.

    Updates of a lower rank than the others are padded with zeros: then no loader has to know the
    rank of each map. With `rank`, a change of a higher rank, or a dense one, becomes the best
    approximation of that rank in the Frobenius norm, by its singular value decomposition (Eckart
    and Young 1936). Raises `DataError` if the delta changes nothing, anything but the weights of
    linear maps, or a map densely without `rank`; `PluginError` if it is another model's.
    """
    delta.check(model)
    if not delta.updates:
        raise DataError("it changes no weights, so there is nothing to export")
    if not delta.finite():
        raise DataError("it has numbers that are not finite; make the edit again")
    _refuse_all_but_maps(delta, model)
    if rank is None:
        _refuse_dense(delta)
    kept = {name: _of_rank(update, rank) for name, update in delta.updates.items()}
    errors = [
        _distance(update, kept[name])
        for name, update in delta.updates.items()
        if kept[name] is not update
    ]
    most = max(update.inputs.shape[1] for update in kept.values())
    padded = {name: _padded(update, most) for name, update in kept.items()}
    norm = delta.norm()
    return LoraFactors(padded, most, hypot(*errors) / norm if norm else 0.0)


def _refuse_all_but_maps(delta: Delta, model: nn.Module) -> None:
    others = [name for name in delta.updates if not _is_map(model, name)]
    if others:
        raise DataError(
            f"it changes {listed(others[:4])}{' and others' if len(others) > 4 else ''}, and a "
            f"LoRA adapter changes only the weights of linear maps; {MERGE}"
        )


def _is_map(model: nn.Module, name: str) -> bool:
    path, _, part = name.rpartition(".")
    return part == "weight" and isinstance(model.get_submodule(path), LINEAR)


def _refuse_dense(delta: Delta) -> None:
    dense = [name for name, update in delta.updates.items() if isinstance(update, DenseUpdate)]
    if dense:
        raise DataError(
            f"its change of {dense[0]} is a whole matrix, not of low rank; give --rank R for the "
            f"closest adapter of rank R, or {MERGE}"
        )


def _of_rank(update: Update, rank: int | None) -> LowRankUpdate:
    """The update itself if its rank is low enough, else the best approximation."""
    if isinstance(update, LowRankUpdate) and (rank is None or update.inputs.shape[1] <= rank):
        return update
    u, s, vt = torch.linalg.svd(update.dense().double(), full_matrices=False)
    return LowRankUpdate((u * s)[:, :rank].float(), vt[:rank].T.float())


def _distance(update: Update, kept: LowRankUpdate) -> float:
    return float((update.dense().double() - kept.dense().double()).norm())


def _padded(update: LowRankUpdate, rank: int) -> LowRankUpdate:
    zeros = (0, rank - update.inputs.shape[1])
    return LowRankUpdate(pad(update.outputs.float(), zeros), pad(update.inputs.float(), zeros))
