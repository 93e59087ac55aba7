"""The networks g that turn an edit's factors into pseudo-factors (Mitchell et al. 2022, §3.2).

All linear maps of one shape share a network; each has its own scales, shifts and step. At
initialisation, g is the identity, so MEND's change is a step of gradient descent with normalised
factors.
"""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

import torch
from torch import nn

from editcore.toolkit import (
    BatchedFactors,
    TokenFactors,
)
from editcore_mend.sites import Site
from editcore_mend.statistics import RunningStatistics


class ResidualLayer(nn.Module):
    """z + relu(s ⊙ (U V z + b) + o), with s and o of each map (eq. 3)."""

    def __init__(self, width: int, rank: int, maps: int, seed: int) -> None:
        super().__init__()
        # Seeds are drawn from the study's by doubling, and torch takes none of 2**64 and above.
        generator = torch.Generator().manual_seed(seed % 2**64)
        drawn = torch.randn(rank, width, generator=generator) / math.sqrt(width)
        self.out = nn.Parameter(torch.zeros(width, rank))
        self.into = nn.Parameter(drawn)
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(maps, width))
        self.shift = nn.Parameter(torch.zeros(maps, width))

    def forward(self, z: torch.Tensor, place: int) -> torch.Tensor:
        """`[..., width]` to the same, for the map at `place` among those of this shape."""
        return z + self._added(z @ self.into.T @ self.out.T + self.bias, place)

    def _added(self, mapped: torch.Tensor, place: int) -> torch.Tensor:
        # Unlike `relu`, `clamp` has a gradient at 0, which is the value of every number at first.
        return (mapped * self.scale[place] + self.shift[place]).clamp(min=0)


class LinearResidualLayer(ResidualLayer):
    """z + s ⊙ (U V z + b) + o."""

    def _added(self, mapped: torch.Tensor, place: int) -> torch.Tensor:
        return mapped * self.scale[place] + self.shift[place]


class RectifiedFirstLayer(ResidualLayer):
    """z + s ⊙ relu(U V z + b) + o, which can also subtract: MALMEN's."""

    def _added(self, mapped: torch.Tensor, place: int) -> torch.Tensor:
        return mapped.clamp(min=0) * self.scale[place] + self.shift[place]


class ShapeNetwork(nn.Module):
    """g for the linear maps of one shape: two residual layers."""

    def __init__(
        self,
        width: int,
        rank: int,
        maps: int,
        seed: int,
        layers: tuple[type[ResidualLayer], type[ResidualLayer]],
    ) -> None:
        super().__init__()
        hidden, last = layers
        self.hidden = hidden(width, rank, maps, 2 * seed)
        self.last = last(width, rank, maps, 2 * seed + 1)

    def forward(self, z: torch.Tensor, place: int) -> torch.Tensor:
        """`[..., d_in + d_out]` to the same."""
        transformed: torch.Tensor = self.last(self.hidden(z, place), place)
        return transformed


class SiteNetworks(nn.Module):
    """Statistics, networks and steps for all sites; maps of one shape may share statistics."""

    layers: ClassVar[tuple[type[ResidualLayer], type[ResidualLayer]]]
    shares_statistics: ClassVar[bool] = False

    def __init__(self, sites: Sequence[Site], rank: int, step: float, seed: int) -> None:
        super().__init__()
        self._shapes = [(site.d_in, site.d_out) for site in sites]
        shapes = list(dict.fromkeys(self._shapes))
        self._group = [shapes.index(shape) for shape in self._shapes]
        self._place = [self._group[:i].count(group) for i, group in enumerate(self._group)]
        self.networks = nn.ModuleList(
            ShapeNetwork(d_in + d_out, rank, self._group.count(group), seed + group, self.layers)
            for group, (d_in, d_out) in enumerate(shapes)
        )
        self._seen = self._group if self.shares_statistics else list(range(len(sites)))
        widths = shapes if self.shares_statistics else self._shapes
        self.inputs = nn.ModuleList(RunningStatistics(d_in) for d_in, _ in widths)
        self.deltas = nn.ModuleList(RunningStatistics(d_out) for _, d_out in widths)
        self.log_steps = nn.Parameter(torch.full((len(sites),), math.log(step)))

    def numbers_of_sites(self) -> list[nn.Parameter]:
        """The parameters that are one number for each site, and learn at a rate of their own."""
        return [self.log_steps]

    def see_site(self, site: int, inputs: torch.Tensor, deltas: torch.Tensor) -> None:
        """Add factors `[token, d_in]` and `[token, d_out]` to a site's statistics."""
        for each, vectors in ((self.inputs, inputs), (self.deltas, deltas)):
            statistics = each[self._seen[site]]
            assert isinstance(statistics, RunningStatistics)
            statistics.see(vectors)

    def pseudo(
        self, site: int, inputs: torch.Tensor, deltas: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """ũ `[..., d_in]` and ṽ `[..., d_out]` of a site's factors."""
        seen = self._seen[site]
        normalised = self.inputs[seen](inputs), self.deltas[seen](deltas)
        z = torch.cat(normalised, -1).to(self.log_steps)
        g = self.networks[self._group[site]](z, self._place[site])
        pseudo_inputs, pseudo_deltas = g.split(self._shapes[site], -1)
        return pseudo_inputs, pseudo_deltas


NetworkT = TypeVar("NetworkT", bound=SiteNetworks)


class MendNetwork(SiteNetworks):
    """MEND's: the second layer has no ReLU, and every map has its own statistics and step α."""

    layers = (ResidualLayer, LinearResidualLayer)

    def see(self, factors: Sequence[TokenFactors]) -> None:
        """Add the factors of some edits to the statistics; only training does."""
        for site, each in enumerate(factors):
            self.see_site(site, each.inputs[each.counts], each.deltas[each.counts])

    def forward(self, factors: Sequence[TokenFactors]) -> list[BatchedFactors]:
        """For each site, −α ṽ and ũ of every edit and token, `[edits, d, length]`.

        −α ṽ is 0 for tokens that do not count.
        """
        return list(self._changes(factors))

    def _changes(self, factors: Sequence[TokenFactors]) -> Iterator[BatchedFactors]:
        for site, each in enumerate(factors):
            inputs, deltas = self.pseudo(site, each.inputs, each.deltas)
            steps = -self.log_steps[site].exp() * each.counts[..., None]
            yield BatchedFactors((steps * deltas).transpose(1, 2), inputs.transpose(1, 2))
