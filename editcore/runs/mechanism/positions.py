"""Whether the position embedding makes the first token different (Table 3).

kᵘ is read with another position for the subject's last token: the second instead of the first in
collapse cases, the first instead of the second in normal cases. With rotary embeddings only
relative positions matter, so the first token, which attends to itself alone, keeps its key.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import cosine_similarity

from editcore.keyvalue.keys import SubjectKeys, mixed
from editcore.models import hooks
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, pad_rows
from editcore.records.mechanism_schemas import COLLAPSE, NORMAL
from editcore.runs.mechanism.material import Case, Material


@torch.no_grad()
def bare_keys(
    model: LoadedModel, layer: int, prompts: Sequence[TokenizedPrompt], shift: int
) -> tuple[Float32[Tensor, "case d_key"], Float32[Tensor, "case d_model"]]:
    """kᵘ and W kᵘ, with the subject's last token `shift` positions later."""
    rows = [prompt.ids[: prompt.subject + 1] for prompt in prompts]
    padded = pad_rows(rows, model.pad_id, "right", model.device)
    last = torch.arange(len(rows)), torch.tensor([prompt.subject for prompt in prompts])
    positions = padded.positions.clone()
    positions[last] += shift
    with hooks.recording(model.parts.down(layer), stop=True) as seen:
        model.model(
            input_ids=padded.ids,
            attention_mask=padded.mask,
            position_ids=positions,
            use_cache=False,
        )
    assert seen.input is not None and seen.output is not None
    return seen.input[last].float(), seen.output[last].float()


def rows(material: Material) -> list[dict[str, Any]]:
    """Rows of `POSITIONS`, for `mixed` keys with C: each case with its own position and the other.

    Only cases whose subject ends at the first position (collapse) or the second (normal) are used.
    """
    found: list[dict[str, Any]] = []
    for name, place, shift in ((COLLAPSE, 0, 1), (NORMAL, 1, -1)):
        cases = [case for case in material.sets[name] if case.prompt.subject == place]
        if cases:
            found += _swapped(material, name, cases, shift)
    return found


def _swapped(
    material: Material, name: str, cases: Sequence[Case], shift: int
) -> list[dict[str, Any]]:
    prompts = [case.prompt for case in cases]
    keys, outputs = bare_keys(material.model, material.layer, prompts, shift)
    swapped = [
        SubjectKeys(
            torch.cat([key[None], case.keys.keys[1:]]),
            torch.cat([out[None], case.keys.outputs[1:]]),
        )
        for case, key, out in zip(cases, keys, outputs, strict=True)
    ]
    ways = [(False, case, case.keys) for case in cases]
    ways += [(True, case, other) for case, other in zip(cases, swapped, strict=True)]
    edits = [material.solve(case, mixed(each)) for _, case, each in ways]
    return [
        {
            "model": material.job.model.name,
            "cases": name,
            "case_id": case.request.case_id,
            "swapped": is_swapped,
            "key_cosine": float(cosine_similarity(each.bare, case.keys.bare, dim=0)),
            "denominator": edit.denominator,
            **measured,
        }
        for (is_swapped, case, each), edit, measured in zip(
            ways, edits, material.measured(edits), strict=True
        )
    ]
