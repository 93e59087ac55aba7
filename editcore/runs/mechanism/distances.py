"""Distances between the clouds of keys in the full space, which projections may distort."""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

from editcore.runs.mechanism import geometry
from editcore.runs.mechanism.clouds import DIRECTION, Clouds
from editcore.runs.mechanism.material import Material


def rows(material: Material, clouds: Clouds) -> Iterator[dict[str, Any]]:
    """Rows of `DISTANCES`: the mean over pairs, within each cloud and between every two.

    C⁻¹k̄ is not a key, so only cosine distances are taken to it.
    """
    for first, second in combinations_with_replacement(sorted(clouds.by_name), 2):
        a, b = clouds.by_name[first], clouds.by_name[second]
        same = first == second
        if same and len(a) < 2:
            continue
        only_angles = {first, second} & set(DIRECTION.values())
        metrics = [geometry.COSINE] if only_angles else [geometry.COSINE, geometry.MAHALANOBIS]
        for metric in metrics:
            matrix = geometry.distances(metric, a, b, material.moment)
            yield {
                "model": material.job.model.name,
                "first": first,
                "second": second,
                "metric": metric,
                **vars(geometry.interval(matrix, same=same, seed=material.job.seed)),
                "n_first": len(a),
                "n_second": len(b),
            }
