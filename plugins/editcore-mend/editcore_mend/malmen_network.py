"""MALMEN's network: the wanted difference of each token's output, and the change that fits all.

For a token's key k and gradient g at the map's output, the difference is v = −η (k·k̃) g̃ with
(k̃, g̃) = g(k, g), and the change of the map is the ridge regression of all v on all k with the
map's own λ = e^θ (Tan et al. 2024). Unlike in the released code, each fact has a loss of its own,
so that its gradients do not depend on the facts that share a pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from editcore.toolkit import ScoredRows, TokenFactors
from editcore_mend.least_squares import RidgeFit
from editcore_mend.network import RectifiedFirstLayer, SiteNetworks
from editcore_mend.sites import Site

# Tokens that pass through the network together, with gradients; as published.
TOKENS = 1024


@dataclass(frozen=True)
class Rows:
    """Keys `[token, d_in]` and gradients `[token, d_out]` of one map at target tokens.

    A target token's row is at the position that predicts it.
    """

    keys: Tensor
    gradients: Tensor

    @classmethod
    def of(cls, factors: TokenFactors, scored: ScoredRows) -> "list[Rows]":
        """The rows of each edit of a pass."""
        found = (each[scored.row, scored.column] for each in (factors.inputs, factors.deltas))
        sizes = scored.row.bincount(minlength=len(factors.inputs)).tolist()
        keys, gradients = (each.split(sizes) for each in found)
        return [cls(*pair) for pair in zip(keys, gradients, strict=True)]

    @classmethod
    def joined(cls, several: "Sequence[Rows]") -> "Rows":
        """The rows of several edits."""
        keys, gradients = zip(*((each.keys, each.gradients) for each in several), strict=True)
        return cls(torch.cat(keys), torch.cat(gradients))

    def parts(self) -> "list[Rows]":
        """The same in parts of at most `TOKENS` tokens."""
        both = (self.keys.split(TOKENS), self.gradients.split(TOKENS))
        return [Rows(*pair) for pair in zip(*both, strict=True)]


class MalmenNetwork(SiteNetworks):
    """Maps of one shape share statistics; each map has its own η and θ."""

    layers = (RectifiedFirstLayer, RectifiedFirstLayer)
    shares_statistics = True

    def __init__(
        self, sites: Sequence[Site], rank: int, step: float, seed: int, ridge: float = 1.0
    ) -> None:
        super().__init__(sites, rank, step, seed)
        self.log_ridges = nn.Parameter(torch.full((len(sites),), math.log(ridge)))

    def numbers_of_sites(self) -> list[nn.Parameter]:
        """η and θ of each site."""
        return [self.log_steps, self.log_ridges]

    def see(self, rows: Sequence[Rows]) -> None:
        """Add the rows of each site to the statistics; only training does."""
        for site, each in enumerate(rows):
            self.see_site(site, each.keys, each.gradients)

    def differences(self, site: int, rows: Rows) -> Tensor:
        """The wanted difference v of every token, `[token, d_out]`."""
        keys, gradients = self.pseudo(site, rows.keys, rows.gradients)
        lengths = (rows.keys.to(keys) * keys).sum(-1, keepdim=True)
        return -self.log_steps[site].exp() * lengths * gradients

    @torch.no_grad()
    def fits(self, rows: Sequence[Rows]) -> list[RidgeFit]:
        """The ridge regression of each site, without gradients of the network."""
        return [
            RidgeFit.of(
                each.keys,
                torch.cat([self.differences(site, part) for part in each.parts()]),
                float(self.log_ridges[site].exp()),
            )
            for site, each in enumerate(rows)
        ]

    def pull_back(self, site: int, rows: Rows, fit: RidgeFit, gradient: Tensor) -> None:
        """Add to the parameters' gradients what follows from ∂L/∂ΔW of a site, `[d_out, d_in]`.

        The loss was differentiated only with respect to ΔW; the network runs again here, part by
        part, so that its activations and the model's are never in memory together.
        """
        of_differences, of_ridge = fit.pulled_back(gradient)
        (of_ridge.to(self.log_ridges) * self.log_ridges[site]).backward()
        for part, wanted in zip(rows.parts(), of_differences.split(TOKENS), strict=True):
            (self.differences(site, part) * wanted).sum().backward()
