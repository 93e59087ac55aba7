"""Running mean and variance of a linear map's factors, saved with the trained network."""

import torch
from torch import nn

# Prevents division by zero for a number that never varies.
LEAST = 1e-7


class RunningStatistics(nn.Module):
    """Mean and variance of each of `width` numbers over all vectors seen (Chan et al. 1979).

    Until two vectors were seen, vectors are not normalised.
    """

    count: torch.Tensor
    mean: torch.Tensor
    squares: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(width, dtype=torch.float64))

    @torch.no_grad()
    def see(self, vectors: torch.Tensor) -> None:
        """Add more vectors, `[n, width]`."""
        if not len(vectors):
            return
        vectors = vectors.to(self.mean)
        total = self.count + len(vectors)
        own = vectors.mean(0)
        shift = own - self.mean
        self.squares += (vectors - own).square().sum(0)
        self.squares += shift.square() * self.count * len(vectors) / total
        self.mean += shift * len(vectors) / total
        self.count.copy_(total)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors `[..., width]` less the mean, over the standard deviation."""
        if self.count < 2:
            return vectors
        deviation = (self.squares / (self.count - 1)).sqrt() + LEAST
        return (vectors - self.mean.to(vectors)) / deviation.to(vectors)
