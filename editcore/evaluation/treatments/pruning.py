"""Pruning by magnitude: the smallest weights of a matrix become zero.

Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks"; matrix by
matrix, as in the comparisons of Sun et al. 2024, "A Simple and Effective Pruning Approach for Large
Language Models".
"""

from jaxtyping import Float
from torch import Tensor


def pruned(weight: Float[Tensor, "d_out d_in"], share: float) -> Float[Tensor, "d_out d_in"]:
    """A weight with its `share` of smallest magnitudes set to zero, rounded down to whole weights.

    Weights that are as small as the largest of them become zero too.
    """
    sizes = weight.abs()
    count = int(share * weight.numel())
    if count == 0:
        return weight.clone()
    return weight.masked_fill(sizes <= sizes.flatten().kthvalue(count).values, 0)
