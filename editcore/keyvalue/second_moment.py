"""The uncentred second moment C = E[k kᵀ] of a layer's keys (Meng et al. 2022, eq. 2).

The papers' text multiplies keys by C⁻¹, so that an update changes the outputs at other keys as
little as possible.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.errors import DataError, require
from editcore.models.architectures import stores_transposed
from editcore.records.tensors import opened, save_tensors

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

RIDGES = (0.0, 1e-8, 1e-6, 1e-4)
REMEDY = "delete its folder and run again, so that `editcore moments` writes it"


@dataclass(frozen=True)
class SecondMoment:
    """C over `tokens` tokens, and its lower Cholesky factor."""

    layer: int
    matrix: Float64[Tensor, "d_key d_key"]
    factor: Float64[Tensor, "d_key d_key"]
    tokens: int

    @classmethod
    def from_matrix(
        cls, layer: int, matrix: Float[Tensor, "d_key d_key"], tokens: int
    ) -> "SecondMoment":
        """Factor C; `DataError` if it is not positive definite even with a tiny ridge.

        The ridge is added only to the factored matrix, and only if the factorisation fails without
        it, as it does with fewer tokens than keys have dimensions, or with sums made in float32.
        """
        matrix = matrix.double().cpu()
        if (factor := factored(matrix)) is not None:
            return cls(layer, matrix, factor, tokens)
        raise DataError(
            f"the second moment of layer {layer} over {tokens} tokens is not positive definite; "
            f"give more tokens than the {len(matrix)} dimensions of a key"
        )

    def solve(self, keys: Float[Tensor, "*case d_key"]) -> Float64[Tensor, "*case d_key"]:
        """C⁻¹k for one key or for several, in float64 on the CPU.

        >>> moment = SecondMoment.from_matrix(0, torch.diag(torch.tensor([4.0, 2.0])), tokens=9)
        >>> moment.solve(torch.tensor([8.0, 8.0])).round().tolist()
        [2.0, 4.0]
        """
        columns = keys.double().cpu().reshape(-1, keys.shape[-1]).T
        return torch.cholesky_solve(columns, self.factor).T.reshape(keys.shape)


def factored(
    matrix: Float64[Tensor, "d_key d_key"],
) -> Float64[Tensor, "d_key d_key"] | None:
    """The lower Cholesky factor of a matrix; None if it is not positive definite.

    To a matrix that cannot be factored as it is, the least of `RIDGES` that is enough is added,
    times the mean of the diagonal.
    """
    for ridge in RIDGES:
        added = ridge * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=torch.float64)
        found = torch.linalg.cholesky_ex(matrix + added)
        factor: Tensor = found.L
        if not found.info and factor.isfinite().all():
            return factor
    return None


def save(moment: SecondMoment, path: Path, metadata: dict[str, str]) -> None:
    """Write C and its factor as float32 and float64, whole or not at all."""
    about = {**metadata, "layer": str(moment.layer), "tokens": str(moment.tokens)}
    save_tensors(path, {"matrix": moment.matrix.float(), "factor": moment.factor}, about)


def load(path: Path) -> SecondMoment:
    """Read what `save` wrote; `DataError` for anything else."""
    with opened(path, "second moment", REMEDY) as file:
        matrix, factor = file["matrix"].double(), file["factor"].double()
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        require(square and matrix.shape == factor.shape, "C and its factor are not square matrices")
        finite = matrix.isfinite().all() and factor.isfinite().all()
        require(bool(finite), "not every number is finite")
        return SecondMoment(int(file.about["layer"]), matrix, factor, int(file.about["tokens"]))


def load_for(model: "LoadedModel", layer: int, path: Path) -> SecondMoment:
    """Read the second moment of a model's layer; `DataError` if its keys have another width."""
    moment = load(path)
    name = model.parts.down_weight(layer)
    width = model.model.get_parameter(name).shape[0 if stores_transposed(model.model, name) else 1]
    if len(moment.matrix) != width:
        raise DataError(
            f"{path} is for keys with {len(moment.matrix)} numbers, but those of layer {layer} of "
            f"{model.name!r} have {width}; give the statistics of this model, or delete the file"
        )
    return moment
