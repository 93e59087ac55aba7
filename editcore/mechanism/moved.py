"""How the keys of collapse cases move as a prefix grows in front of them (Figure 4 b)."""

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from editcore.keys import collect, fill
from editcore.mechanism import geometry
from editcore.mechanism.material import COLLAPSE, NORMAL, Case, Material, stacked
from editcore.requests import SLOT
from editcore.tokens import tokenize_prompt

if TYPE_CHECKING:
    from editcore.mechanism.clouds import Clouds


def behind_prefixes(material: Material, cases: Sequence[Case], length: int) -> torch.Tensor:
    """kᵘ of some cases, each behind `length` tokens cut at random out of the texts, `[n, d_key]`.

    Which tokens is drawn by seed, case and length.
    """
    prompts = []
    for case in cases:
        template = _template(material, case, length)
        prompt = fill(template, case.request.prompt)
        prompts.append([tokenize_prompt(material.model.tokenizer, prompt, case.request.subject)])
    return stacked([keys.bare for keys in collect(material.model, material.layer, prompts)])


def _template(material: Material, case: Case, length: int) -> str:
    if not length:
        return SLOT
    rng = random.Random(f"{material.job.seed}:{case.request.case_id}:{length}")
    row = rng.choice([row for row in material.rows if len(row) >= length] or material.rows)
    start = rng.randrange(max(1, len(row) - length + 1))
    cut = str(material.model.tokenizer.decode(row[start : start + length]))
    return " ".join(cut.replace("{", " ").replace("}", " ").split()) + f" {SLOT}"


def rows(material: Material, clouds: "Clouds") -> Iterator[dict[str, Any]]:
    """Rows of `MOVED`: mean distance to the bare keys of both sets, by length of the prefix."""
    from editcore.mechanism.clouds import BARE

    seed = material.job.seed
    for length in material.job.prefix_lengths:
        moved = behind_prefixes(material, material.sets[COLLAPSE], length)
        for reference in (COLLAPSE, NORMAL):
            cloud = clouds.by_name[BARE[reference]]
            same = reference == COLLAPSE and length == 0
            for metric, matrix in (
                (geometry.COSINE, geometry.cosine(moved, cloud)),
                (geometry.MAHALANOBIS, geometry.mahalanobis(moved, cloud, material.moment)),
            ):
                found = geometry.interval(matrix, same=same, seed=seed)
                yield {
                    "model": material.job.model.name,
                    "length": length,
                    "reference": reference,
                    "metric": metric,
                    **vars(found),
                    "n": len(moved),
                }
