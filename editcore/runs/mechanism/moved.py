"""How the keys of collapse cases move as a prefix grows in front of them (Figure 4 b)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from editcore.keyvalue.keys import collect_keys, fill
from editcore.models.tokenization import tokenize_prompt
from editcore.requests import SLOT
from editcore.runs.mechanism import geometry
from editcore.runs.mechanism.material import COLLAPSE, NORMAL, Case, Material, stacked

if TYPE_CHECKING:
    from editcore.runs.mechanism.clouds import Clouds


def behind_prefixes(material: Material, cases: Sequence[Case], length: int) -> torch.Tensor:
    """kᵘ of some cases, each behind `length` tokens cut at random out of the texts, `[n, d_key]`.

    Which tokens is drawn by seed, case and length.
    """
    prompts = []
    for case in cases:
        template = _template(material, case, length)
        prompt = fill(template, case.request.prompt)
        prompts.append([tokenize_prompt(material.model.tokenizer, prompt, case.request.subject)])
    return stacked([keys.bare for keys in collect_keys(material.model, material.layer, prompts)])


def _template(material: Material, case: Case, length: int) -> str:
    if not length:
        return SLOT
    rng = random.Random(f"{material.job.seed}:{case.request.case_id}:{length}")
    row = rng.choice([row for row in material.rows if len(row) >= length] or material.rows)
    start = rng.randrange(max(1, len(row) - length + 1))
    cut = str(material.model.tokenizer.decode(row[start : start + length]))
    return " ".join(cut.replace("{", " ").replace("}", " ").split()) + f" {SLOT}"


def rows(material: Material, clouds: "Clouds") -> Iterator[dict[str, Any]]:
    """Rows of `MOVED`: how near the moved keys are to the bare keys of both sets.

    By mean distance; by the energy distance, since a mean distance also grows with a cloud's own
    width; and by the share of them whose nearest bare key, other than their own case's, is of that
    set.
    """
    from editcore.runs.mechanism.clouds import BARE

    bare = {name: clouds.by_name[BARE[name]] for name in (COLLAPSE, NORMAL)}
    for length in material.job.prefix_lengths:
        moved = behind_prefixes(material, material.sets[COLLAPSE], length)
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


def nearest_shares(matrices: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """By set, the share of rows whose least distance is to it; no row is compared with its own."""
    least = {}
    for name, matrix in matrices.items():
        counted = matrix.clone()
        if name == COLLAPSE:
            counted.fill_diagonal_(torch.inf)
        least[name] = counted.min(1).values
    nearest = torch.stack(list(least.values())).argmin(0)
    return {name: float((nearest == i).double().mean()) for i, name in enumerate(least)}
