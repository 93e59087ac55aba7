"""How the keys of collapse cases move as the prefix before them grows (Figure 4 b)."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.records.mechanism_schemas import COLLAPSE, NORMAL
from editcore.runs.mechanism import geometry
from editcore.runs.mechanism.clouds import BARE, Clouds
from editcore.runs.mechanism.material import Material, keys_after_prefixes


def rows(material: Material, clouds: Clouds) -> Iterator[dict[str, Any]]:
    """Rows of `MOVED`: how near the moved keys are to the bare keys of each set.

    Measured by mean distance; by energy distance (`gap`), since a mean distance also grows with a
    cloud's own width; and by the share of moved keys whose nearest bare key, other than their own
    case's, is in that set (`nearest`).
    """
    bare = {name: clouds.by_name[BARE[name]] for name in (COLLAPSE, NORMAL)}
    for length in material.job.prefix_lengths:
        moved = keys_after_prefixes(material, material.sets[COLLAPSE], length)
        for metric in (geometry.COSINE, geometry.MAHALANOBIS):
            matrices = {
                name: geometry.distances(metric, moved, cloud, material.moment)
                for name, cloud in bare.items()
            }
            nearest = nearest_shares(matrices)
            width = geometry.within(metric, moved, material.moment)
            for name, matrix in matrices.items():
                own = name == COLLAPSE
                found = geometry.interval(matrix, same=own, seed=material.job.seed)
                wide = geometry.within(metric, bare[name], material.moment)
                yield {
                    "model": material.job.model.name,
                    "length": length,
                    "reference": name,
                    "metric": metric,
                    **vars(found),
                    "gap": geometry.gap(found.mean, width, wide),
                    "nearest": nearest[name],
                    "n": len(moved),
                }


def nearest_shares(matrices: Mapping[str, Float[Tensor, "case _other"]]) -> dict[str, float]:
    """By set, the share of rows whose least distance is to it; row i's own case is left out."""
    least = {}
    for name, matrix in matrices.items():
        counted = matrix.clone()
        if name == COLLAPSE:
            counted.fill_diagonal_(torch.inf)
        least[name] = counted.min(1).values
    nearest = torch.stack(list(least.values())).argmin(0)
    return {name: float((nearest == i).double().mean()) for i, name in enumerate(least)}
