"""The network g that turns an edit's factors into those of the weight change (§3.2).

All linear maps of one shape share a network; each has its own scales, shifts and step α. At
initialisation, g is the identity, so the change is a step of gradient descent with normalised
factors.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from editcore.toolkit import (
    BatchedFactors,
    TokenFactors,
)
from editcore_mend.sites import Site
from editcore_mend.statistics import RunningStatistics


class ResidualLayer(nn.Module):
    """z + σ(s ⊙ (U V z + b) + o), with s and o of each map; σ is a ReLU or the identity (eq. 3)."""

    def __init__(self, width: int, rank: int, maps: int, rectify: bool, seed: int) -> None:
        super().__init__()
        # Seeds are drawn from the study's by doubling, and torch takes none of 2**64 and above.
        generator = torch.Generator().manual_seed(seed % 2**64)
        drawn = torch.randn(rank, width, generator=generator) / math.sqrt(width)
        self.rectify = rectify
        self.out = nn.Parameter(torch.zeros(width, rank))
        self.into = nn.Parameter(drawn)
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(maps, width))
        self.shift = nn.Parameter(torch.zeros(maps, width))

    def forward(self, z: torch.Tensor, place: int) -> torch.Tensor:
        """`[..., width]` to the same, for the map at `place` among those of this shape."""
        added = z @ self.into.T @ self.out.T + self.bias
        added = added * self.scale[place] + self.shift[place]
        # Unlike `relu`, `clamp` has a gradient at 0, which is the value of every number at first.
        return z + (added.clamp(min=0) if self.rectify else added)


class ShapeNetwork(nn.Module):
    """g for the linear maps of one shape: two residual layers, the second without a ReLU."""

    def __init__(self, width: int, rank: int, maps: int, seed: int) -> None:
        super().__init__()
        self.hidden = ResidualLayer(width, rank, maps, True, 2 * seed)
        self.last = ResidualLayer(width, rank, maps, False, 2 * seed + 1)

    def forward(self, z: torch.Tensor, place: int) -> torch.Tensor:
        """`[..., d_in + d_out]` to the same."""
        transformed: torch.Tensor = self.last(self.hidden(z, place), place)
        return transformed


class MendNetwork(nn.Module):
    """Statistics, networks and steps for all sites."""

    def __init__(self, sites: Sequence[Site], rank: int, step: float, seed: int) -> None:
        super().__init__()
        self._shapes = [(site.d_in, site.d_out) for site in sites]
        shapes = list(dict.fromkeys(self._shapes))
        self._group = [shapes.index(shape) for shape in self._shapes]
        self._place = [self._group[:i].count(group) for i, group in enumerate(self._group)]
        self.networks = nn.ModuleList(
            ShapeNetwork(d_in + d_out, rank, self._group.count(group), seed + group)
            for group, (d_in, d_out) in enumerate(shapes)
        )
        self.inputs = nn.ModuleList(RunningStatistics(d_in) for d_in, _ in self._shapes)
        self.deltas = nn.ModuleList(RunningStatistics(d_out) for _, d_out in self._shapes)
        self.log_steps = nn.Parameter(torch.full((len(sites),), math.log(step)))

    def see(self, factors: Sequence[TokenFactors]) -> None:
        """Add the factors of some edits to the statistics; only training does."""
        for inputs, deltas, each in zip(self.inputs, self.deltas, factors, strict=True):
            for statistics, vectors in ((inputs, each.inputs), (deltas, each.deltas)):
                assert isinstance(statistics, RunningStatistics)
                statistics.see(vectors[each.counts])

    def forward(self, factors: Sequence[TokenFactors]) -> list[BatchedFactors]:
        """For each site, −α ṽ and ũ of every edit and token, `[edits, d, length]`.

        −α ṽ is 0 for tokens that do not count.
        """
        return list(self._changes(factors))

    def _changes(self, factors: Sequence[TokenFactors]) -> Iterator[BatchedFactors]:
        for site, each in enumerate(factors):
            parts = (self.inputs[site], each.inputs), (self.deltas[site], each.deltas)
            z = torch.cat([normalise(vectors) for normalise, vectors in parts], -1)
            g = self.networks[self._group[site]](z.to(self.log_steps), self._place[site])
            inputs, deltas = g.split(self._shapes[site], -1)
            steps = -self.log_steps[site].exp() * each.counts[..., None]
            yield BatchedFactors((steps * deltas).transpose(1, 2), inputs.transpose(1, 2))
