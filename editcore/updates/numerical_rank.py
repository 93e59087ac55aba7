"""The rank of a change of a weight, as far as rounding lets it be seen.

A weight is stored rounded, so the change between two stored weights is a change plus rounding
errors, and these have full rank. A singular value counts if no such errors explain it: it is above
max_i ‖r_i·‖ + max_j ‖r_·j‖, where r_ij is the largest rounding error of entry ij. This bounds the
norm of a random matrix with independent entries of at most these standard deviations, up to terms
that are small in large matrices (Bandeira & van Handel 2016, theorem 1.1).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

# More singular values are not computed: a change of a higher rank is not called low-rank, and all
# singular values of a large matrix take minutes.
MOST = 256


@dataclass(frozen=True)
class Rank:
    """The number of singular values above `limit`; None if it is above `MOST`.

    `first` is the share of the change's energy ‖ΔW‖² in the first singular direction.
    """

    rank: int | None
    first: float
    limit: float


def rounding_errors(
    numbers: Float[Tensor, "*shape"], dtype: torch.dtype
) -> Float64[Tensor, "*shape"]:
    """The largest error of each number if it was rounded to a dtype.

    It is half the distance between neighbouring numbers: ε·2^⌊log₂|w|⌋ / 2 with the dtype's ε.

    >>> rounding_errors(torch.tensor([1.0, 1.5, 2.0]), torch.bfloat16) * 256
    tensor([1., 1., 2.], dtype=torch.float64)
    """
    info = torch.finfo(dtype)
    exponent = torch.frexp(numbers.double().abs().clamp_min(info.tiny)).exponent
    return torch.ldexp(torch.full_like(exponent, info.eps / 4, dtype=torch.float64), exponent)


def errors_of_sum(
    change: Float64[Tensor, "*shape"], total: Float[Tensor, "*shape"]
) -> Float64[Tensor, "*shape"]:
    """The rounding errors of weights to which a change was added, in the dtype of the `total`.

    The sum was rounded, and so was the change before; each of its entries was itself a sum, of at
    most `MOST` products in float32 or better.
    """
    dtype = total.dtype
    wide = torch.promote_types(dtype, torch.float32)
    product = rounding_errors(change, dtype) + math.sqrt(MOST) * rounding_errors(change, wide)
    return rounding_errors(total, dtype) + product


def numerical_rank(
    change: Float64[Tensor, "d_out d_in"], errors: Float64[Tensor, "d_out d_in"]
) -> Rank:
    """The rank of a change that is not zero, with the largest rounding error of each entry.

    Of a matrix with more than `MOST` rows and columns, the first `MOST` singular values are found
    by one power iteration from random directions (Halko et al. 2011, algorithm 4.4).
    """
    values, rest = _leading(change)
    norm = float(change.norm())
    precision = torch.finfo(change.dtype).eps * max(change.shape) * float(values[0])
    limit = max(float(errors.norm(dim=1).max() + errors.norm(dim=0).max()), precision)
    rank = int((values > limit).sum())
    # What was left out is more than rounding errors.
    more = rest > float(errors.norm()) and rest > precision
    first = min(1.0, (float(values[0]) / norm) ** 2)
    return Rank(None if more else rank, first, limit)


def _leading(change: Float64[Tensor, "d_out d_in"]) -> tuple[Float64[Tensor, " rank"], float]:
    """The first singular values, and the norm of what they leave out."""
    if min(change.shape) <= MOST:
        return torch.linalg.svdvals(change), 0.0
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(change.shape[1], MOST, generator=generator, dtype=change.dtype)
    basis = torch.linalg.qr(change @ drawn).Q
    basis = torch.linalg.qr(change @ torch.linalg.qr(change.T @ basis).Q).Q
    inside = basis.T @ change
    return torch.linalg.svdvals(inside), float((change - basis @ inside).norm())
