"""Matrices made smaller for a picture, such that no large number is lost."""

import torch
from torch.nn.functional import adaptive_max_pool2d

MOST_ROWS, MOST_COLUMNS = 40, 80


def pooled(change: torch.Tensor) -> torch.Tensor:
    """The largest absolute number of each block of a matrix, `[<= 40, <= 80]`.

    >>> pooled(torch.tensor([[1.0, -3.0]]))
    tensor([[1., 3.]])
    """
    rows, columns = change.shape
    size = (min(rows, MOST_ROWS), min(columns, MOST_COLUMNS))
    return adaptive_max_pool2d(change.abs().float()[None, None], size)[0, 0]
