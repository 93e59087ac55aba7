"""How far C⁻¹k still moves as C is estimated from more tokens: the rule by which it may stop.

C⁻¹k is compared whenever the number of tokens has doubled. Sums over n and over 2n independent
tokens differ by a variance of 1/n − 1/2n = 1/2n, which is also that of the second around the limit.
So what a doubling moved is an estimate of how far C⁻¹k still is from that of unlimited tokens. More
frequent comparisons would show smaller movements and mean nothing.

The probes are keys of running text, from its beginning. They need not be kept out of C: by the
formula of Sherman and Morrison, adding kkᵀ to C changes the length of C⁻¹k and not its direction.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.keyvalue.second_moment import SecondMoment, factored

PROBES = 64
# The probes are spread over this many tokens at the beginning of the texts.
PROBE_TOKENS = 1024
# C has no inverse with fewer tokens than a key has dimensions; the first check is at twice that.
FIRST = 2
# Of the probes' movements, this quantile counts: a few keys that hardly any text has move longest.
QUANTILE = 0.95


@dataclass
class Movement:
    """C⁻¹k of some probes, by layer, at the last check, which was after `tokens` tokens.

    `moved` is by how much they had moved there since the check before, in 1 − cosine.
    """

    tolerance: float
    probes: Mapping[int, Float[Tensor, "probe d_key"]]
    solved: dict[int, Float64[Tensor, "probe d_key"]] = field(default_factory=dict)
    tokens: int = 0
    before: int = 0
    moved: float | None = None

    @classmethod
    def of(cls, tolerance: float, keys: Mapping[int, Float[Tensor, "token d_key"]]) -> "Movement":
        """With `PROBES` of the given keys of each layer, at even steps."""
        return cls(tolerance, {n: _even(rows).double().cpu() for n, rows in keys.items()})

    @property
    def settled(self) -> bool:
        """Whether the last doubling moved C⁻¹k by less than the tolerance, in every layer."""
        return self.moved is not None and self.moved < self.tolerance

    @property
    def state(self) -> dict[str, float | None]:
        """What `resume` takes, besides `solved`."""
        return {"tokens": self.tokens, "before": self.before, "moved": self.moved}

    def resume(
        self,
        solved: Mapping[int, Float64[Tensor, "probe d_key"]],
        tokens: int,
        before: int,
        moved: float | None,
    ) -> None:
        """Continue from a check of an earlier run."""
        self.solved, self.tokens, self.before, self.moved = dict(solved), tokens, before, moved

    def counts(self) -> Iterator[int]:
        """The numbers of tokens after which C⁻¹k is compared, each twice the one before."""
        count = FIRST * max(rows.shape[-1] for rows in self.probes.values())
        while True:
            yield count
            count *= 2

    def check(self, mean: Callable[[int], Float64[Tensor, "d_key d_key"]], tokens: int) -> None:
        """Solve with C over `tokens` tokens, the `mean` of a layer, and compare with before."""
        solved = {n: _solved(mean(n), n, probes) for n, probes in self.probes.items()}
        found = {n: each for n, each in solved.items() if each is not None}
        both = [n for n in self.probes if n in found and n in self.solved]
        moved = [_moved(self.solved[n], found[n]) for n in both]
        self.moved = max(moved) if len(moved) == len(self.probes) else None
        self.solved, self.before, self.tokens = found, self.tokens, tokens

    def sentence(self, most: int) -> str:
        """What became of the estimation, which could have read `most` tokens."""
        if self.moved is None:
            return f"too few tokens to see whether C⁻¹k still moves ({self.tokens:,})"
        moved = f"C⁻¹k moved by {self.moved:.2g} (1 − cosine) since {self.before:,}"
        if self.settled:
            return (
                f"stopped after {self.tokens:,} of {most:,} tokens: {moved}, "
                f"less than {self.tolerance:g}"
            )
        return f"read all tokens: at {self.tokens:,}, {moved}, not less than {self.tolerance:g}"


def _even(rows: Float[Tensor, "token d_key"]) -> Float[Tensor, "probe d_key"]:
    places = torch.linspace(0, len(rows) - 1, min(PROBES, len(rows))).round().long()
    return rows[places.to(rows.device)]


def _solved(
    matrix: Float64[Tensor, "d_key d_key"], layer: int, probes: Float[Tensor, "probe d_key"]
) -> Float64[Tensor, "probe d_key"] | None:
    """C⁻¹k; None if C has no inverse yet."""
    exact = matrix.cpu()
    factor = factored(exact)
    return None if factor is None else SecondMoment(layer, exact, factor, 0).solve(probes)


def _moved(before: Float64[Tensor, "probe d_key"], now: Float64[Tensor, "probe d_key"]) -> float:
    distances = 1 - torch.cosine_similarity(before, now)
    return float(distances.quantile(QUANTILE))
