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
    """C over `tokens` tokens, in the precision of its file or better, and its Cholesky factor.

    The factor is the lower one.
    """

    layer: int
    stored: Float[Tensor, "d_key d_key"]
    factor: Float64[Tensor, "d_key d_key"]
    tokens: int

    @property
    def matrix(self) -> Float64[Tensor, "d_key d_key"]:
        """C; made from what is stored each time, since few computations need it."""
        return self.stored.double()

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
        return solve_factored(self.factor, columns).T.reshape(keys.shape)


def factored(
    matrix: Float64[Tensor, "d_key d_key"],
) -> Float64[Tensor, "d_key d_key"] | None:
    """The lower Cholesky factor of a matrix; None if it is not positive definite.

    To a matrix that cannot be factored as it is, the least of `RIDGES` that is enough is added,
    times the mean of the diagonal.
    """
    for ridge in RIDGES:
        factor = torch.empty_like(matrix).mT.copy_(matrix)  # column by column, as LAPACK stores it
        factor.diagonal().add_(ridge * matrix.diagonal().mean())
        _, info = torch.linalg.cholesky_ex(factor, out=(factor, torch.empty((), dtype=torch.int32)))
        if not info and all(end.isfinite() for end in factor.mT.aminmax()):
            return factor
    return None


def solve_factored(
    factor: Float64[Tensor, "d_key d_key"], columns: Float64[Tensor, "d_key case"]
) -> Float64[Tensor, "d_key case"]:
    """A⁻¹B from the lower Cholesky factor of A; unlike `cholesky_solve`, without a copy of it."""
    halfway = torch.linalg.solve_triangular(factor, columns, upper=False)
    found: Tensor = torch.linalg.solve_triangular(factor.mT, halfway, upper=True)
    return found


def save(moment: SecondMoment, path: Path, metadata: dict[str, str]) -> None:
    """Write C and its factor as float32 and float64, whole or not at all."""
    about = {**metadata, "layer": str(moment.layer), "tokens": str(moment.tokens)}
    save_tensors(path, {"matrix": moment.stored.float(), "factor": moment.factor}, about)


def load(path: Path) -> SecondMoment:
    """Read what `save` wrote; `DataError` for anything else."""
    with opened(path, "second moment", REMEDY) as file:
        matrix, factor = file["matrix"], file["factor"].double()
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        require(square and matrix.shape == factor.shape, "C and its factor are not square matrices")
        ends = (*matrix.aminmax(), *factor.aminmax())  # NaN if there is one
        require(all(end.isfinite() for end in ends), "not every number is finite")
        return SecondMoment(int(file.about["layer"]), matrix, factor, int(file.about["tokens"]))


def load_for(model: "LoadedModel", layer: int, path: Path) -> SecondMoment:
    """Read the second moment of a model's layer; `DataError` if its keys have another width."""
    moment = load(path)
    name = model.parts.down_weight(layer)
    width = model.model.get_parameter(name).shape[0 if stores_transposed(model.model, name) else 1]
    if len(moment.factor) != width:
        raise DataError(
            f"{path} is for keys with {len(moment.factor)} numbers, but those of layer {layer} of "
            f"{model.name!r} have {width}; give the statistics of this model, or delete the file"
        )
    return moment
