"""The eigendecomposition of a second moment C, as a file bound to that C and its model.

Projectors on the directions that running text hardly uses come from it at any threshold, and so do
other functions of C.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor

from editcore.errors import DataError, require
from editcore.keyvalue.second_moment import SecondMoment
from editcore.records import digests
from editcore.records.tensors import opened, save_tensors

if TYPE_CHECKING:
    from editcore.planning.jobs import ModelSpec

REMEDY = "delete its folder and run again, so that `editcore spectrum` writes it"
FIELDS = ("values", "vectors")


@dataclass(frozen=True)
class MomentSpectrum:
    """C = V diag(λ) Vᵀ, the eigenvalues λ ascending and none of them negative.

    `moment` is the digest of the file of C.
    """

    layer: int
    values: Float64[Tensor, " d_key"]
    vectors: Float64[Tensor, "d_key d_key"]
    moment: str = ""

    @classmethod
    def of(cls, moment: SecondMoment, digest: str = "") -> "MomentSpectrum":
        """Decompose C, in float64; eigenvalues below zero, which are rounding, become zero.

        >>> diagonal = SecondMoment.from_matrix(0, torch.diag(torch.tensor([4.0, 2.0])), tokens=9)
        >>> MomentSpectrum.of(diagonal).values.tolist()
        [2.0, 4.0]
        """
        return cls.of_matrix(moment.layer, moment.matrix, digest)

    @classmethod
    def of_matrix(
        cls, layer: int, matrix: Float64[Tensor, "d_key d_key"], digest: str = ""
    ) -> "MomentSpectrum":
        """The same for any positive semi-definite matrix over keys, such as C with edited keys."""
        values, vectors = torch.linalg.eigh(matrix)
        return cls(layer, values.clamp(min=0), vectors, digest)

    def below(self, threshold: float) -> Float64[Tensor, "d_key rank"]:
        """The eigenvectors with eigenvalues below a threshold, as columns Û.

        Û Ûᵀ projects on the directions whose mean squared size in running text is below it.
        """
        return self.vectors[:, : int((self.values < threshold).sum())]

    def lowest(self, share: float) -> Float64[Tensor, "d_key rank"]:
        """The eigenvectors with the lowest eigenvalues, this share of all, as columns."""
        return self.vectors[:, : round(share * len(self.values))]

    def power(self, exponent: float) -> Float64[Tensor, "d_key d_key"]:
        """C to a power, such as −1 or ½; infinite or NaN if a negative one meets a zero."""
        return (self.vectors * self.values**exponent) @ self.vectors.T


def save(
    spectrum: MomentSpectrum, path: Path, model: "ModelSpec", metadata: dict[str, str]
) -> None:
    """Write the decomposition in float64, whole or not at all."""
    about = {"layer": str(spectrum.layer), "moment": spectrum.moment, "bound_to": model.identity}
    tensors = {"values": spectrum.values, "vectors": spectrum.vectors}
    save_tensors(path, tensors, {**metadata, **about})


def load_for(model: "ModelSpec", layer: int, path: Path, moment: Path) -> MomentSpectrum:
    """Read what `save` wrote for a layer of this model and the C in the file `moment`.

    Raises `DataError` for anything else, and for the spectrum of another model, layer or C.
    """
    with opened(path, "spectrum of a second moment", REMEDY) as file:
        values, vectors = (file[name].double() for name in FIELDS)
        require(vectors.shape == (len(values), len(values)), "it is not a square decomposition")
        finite = values.isfinite().all() and vectors.isfinite().all()
        require(bool(finite), "not every number is finite")
        found = MomentSpectrum(int(file.about["layer"]), values, vectors, file.about["moment"])
        bound_to = file.about["bound_to"]
    if (found.layer, bound_to) != (layer, model.identity):
        raise DataError(
            f"{path} is of layer {found.layer} of the model {bound_to}, not of layer {layer} of "
            f"{model.identity}; {REMEDY}"
        )
    if found.moment != digests.of_files([str(moment)])[str(moment)]:
        raise DataError(f"{path} was not made from the second moment in {moment}; {REMEDY}")
    return found
