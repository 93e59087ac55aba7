"""Quantities of one edited matrix, each relative to the unedited matrix."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

Matrix = Float[Tensor, "d_out d_in"]


def frobenius(matrix: Matrix) -> float:
    """‖W‖."""
    return float(matrix.norm())


def largest(matrix: Matrix) -> float:
    """The largest singular value."""
    return float(torch.linalg.svdvals(matrix)[0])


def condition(matrix: Matrix) -> float:
    """The largest singular value over the smallest; inf if that is 0."""
    values = torch.linalg.svdvals(matrix)
    return float(values[0] / values[-1])


def row_energy(matrix: Matrix) -> float:
    """The sum over all pairs of rows of the inverse of their distance on the unit sphere.

    Rows of length 0 have no direction and are left out. Rows with the same direction count as
    `NEAREST` apart.
    """
    lengths = matrix.norm(dim=1)
    rows = matrix[lengths > 0] / lengths[lengths > 0, None]
    squared = (2 - 2 * rows @ rows.T).clamp_min(NEAREST**2)
    return float(squared.rsqrt().triu(1).sum())


# In float32, the distance of a row from itself is computed as less than this.
NEAREST = 1e-3

OF_ONE: Mapping[str, Callable[[Matrix], float]] = MappingProxyType(
    {
        "weight_growth": frobenius,
        "top_singular_value": largest,
        "condition_number": condition,
        "row_energy": row_energy,
    }
)


@dataclass(frozen=True)
class Unedited:
    """The quantities of an unedited matrix, computed when they are first needed."""

    matrix: Matrix
    _known: dict[str, float] = field(default_factory=dict)

    def ratio(self, name: str, now: Matrix) -> float:
        """A quantity in `OF_ONE` of the matrix as it is now, over that of the unedited one."""
        if name not in self._known:
            self._known[name] = OF_ONE[name](self.matrix)
        return OF_ONE[name](now) / self._known[name]

    def change(self, now: Matrix) -> float:
        """‖W − W₀‖ / ‖W₀‖."""
        return float((now - self.matrix).norm() / self.matrix.norm())

    def change_on(self, inputs: Float[Tensor, "token d_in"], now: Matrix) -> float:
        """√(tr(ΔCΔᵀ) / tr(W₀CW₀ᵀ)) with C of these inputs."""
        moved = (inputs @ (now - self.matrix).T).norm()
        return float(moved / (inputs @ self.matrix.T).norm())
