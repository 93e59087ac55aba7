"""The sets of keys in the paper's figures, and their projections to two dimensions.

Figure 2 has kᵘ and k̄ of both sets, and C⁻¹k̄; Figure 4 the keys of first tokens, and the collapse
cases after a prefix.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from editcore.keyvalue.keys import collect_keys
from editcore.models.tokenization import TokenizedPrompt
from editcore.records.mechanism_schemas import COLLAPSE, NORMAL
from editcore.runs.mechanism import geometry
from editcore.runs.mechanism.material import Case, Material, keys_after_prefixes, stacked

BARE = {COLLAPSE: "collapse bare", NORMAL: "normal bare"}
MEAN = {COLLAPSE: "collapse mean", NORMAL: "normal mean"}
DIRECTION = {COLLAPSE: "collapse direction", NORMAL: "normal direction"}
FIRST, PREFIXED = "first token", "collapse prefixed"

PANELS: Mapping[str, Sequence[str]] = {
    "directions": (*BARE.values(), *DIRECTION.values()),
    "keys": (*BARE.values(), *MEAN.values()),
    "first": (*BARE.values(), FIRST, PREFIXED),
}


@dataclass(frozen=True)
class Clouds:
    """Keys `[n, d_key]` float64 by the name of their set."""

    model: str
    seed: int
    by_name: Mapping[str, Float64[Tensor, "_case d_key"]]

    @classmethod
    def of(cls, material: Material) -> "Clouds":
        """Collect the keys of the cases, of first tokens, and of collapse cases after prefixes."""
        found: dict[str, Tensor] = {}
        for name, cases in material.sets.items():
            found[BARE[name]] = stacked([case.keys.bare for case in cases])
            found[MEAN[name]] = stacked([case.keys.mean for case in cases])
            found[DIRECTION[name]] = material.moment.solve(found[MEAN[name]])
        found[FIRST] = _first(material, material.sets[NORMAL])
        longest = max(material.job.prefix_lengths)
        found[PREFIXED] = keys_after_prefixes(material, material.sets[COLLAPSE], longest)
        return cls(material.job.model.name, material.job.seed, found)

    def points(self) -> Iterator[dict[str, Any]]:
        """Rows of `POINTS`: every panel by principal components and by t-SNE.

        In the panel `directions` each vector has length one: only its direction affects an update.
        """
        for panel, names in PANELS.items():
            clouds = {name: self.by_name[name] for name in names}
            if panel == "directions":
                clouds = {n: c / c.norm(dim=1, keepdim=True) for n, c in clouds.items()}
            yield from placed(self.model, panel, clouds, self.seed)


def placed(
    model: str, panel: str, clouds: Mapping[str, Float64[Tensor, "_case d_key"]], seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of `POINTS` for one panel."""
    together = torch.cat(list(clouds.values()))
    components, explained = geometry.principal(together)
    both = (("pca", components, explained), ("t-sne", geometry.neighbours(together, seed), None))
    names = [(name, number) for name, cloud in clouds.items() for number in range(len(cloud))]
    for method, coordinates, shares in both:
        for (name, number), (x, y) in zip(names, coordinates.tolist(), strict=True):
            yield {
                "model": model,
                "panel": panel,
                "method": method,
                "cloud": name,
                "number": number,
                "x": x,
                "y": y,
                "explained_x": shares[0] if shares else None,
                "explained_y": shares[1] if shares else None,
            }


def _first(material: Material, cases: Sequence[Case]) -> Float64[Tensor, "token d_key"]:
    """The key of each distinct first token of the cases' prompts, at the first position."""
    tokens = sorted({case.prompt.ids[0] for case in cases})
    prompts = [[TokenizedPrompt((token,), 0, 1)] for token in tokens]
    return stacked([keys.bare for keys in collect_keys(material.model, material.layer, prompts)])
