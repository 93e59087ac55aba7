"""The running mean and variance of keys and gradients over all edits so far."""

from dataclasses import dataclass

import torch
from torch import Tensor

# As in the released code: float32's machine epsilon, for coordinates that never vary.
EPSILON = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Running:
    """The number of rows, their mean, and the sum of squared deviations `m2`, in float64."""

    count: Tensor
    mean: Tensor
    m2: Tensor

    @classmethod
    def empty(cls, width: int, device: torch.device) -> "Running":
        """No rows yet."""
        zeros = torch.zeros(width, dtype=torch.float64, device=device)
        return cls(torch.zeros((), dtype=torch.float64, device=device), zeros, zeros)

    def extended(self, rows: Tensor, *, as_released: bool = False) -> "Running":
        """With more `rows` `[row, width]`, by the formula of Chan et al. for pairs of samples.

        `as_released` adds n times the rows' unbiased variance to `m2` instead of n − 1 times.
        """
        rows, added = rows.double(), len(rows)
        count, mean = self.count + added, rows.mean(0)
        deviations = (rows - mean).square().sum(0)
        if as_released and added > 1:
            deviations = deviations * added / (added - 1)
        shift = mean - self.mean
        return Running(
            count,
            self.mean + shift * added / count,
            self.m2 + deviations + shift.square() * self.count * added / count,
        )

    def normalised(self, rows: Tensor) -> Tensor:
        """The rows' distances from the mean in standard deviations, in float64; needs two rows."""
        deviation = (self.m2 / (self.count - 1)).sqrt()
        return (rows.double() - self.mean) / (deviation + EPSILON)
