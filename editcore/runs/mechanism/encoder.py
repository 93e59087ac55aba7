"""First and later tokens in an encoder, in which every position has a context (Figure 5)."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, T5EncoderModel

from editcore.datasets.bundled import model_source
from editcore.errors import ModelError, reason
from editcore.models.quiet import quiet_for_folders
from editcore.planning.stages.jobs import MechanismJob
from editcore.runs.mechanism import depth
from editcore.runs.mechanism.clouds import placed
from editcore.runs.mechanism.depth import LayerActivations
from editcore.runs.mechanism.material import Material

FIRST, LATER = "first token", "later tokens"


def keys(job: MechanismJob, material: Material) -> dict[int, LayerActivations]:
    """Keys and states at every layer of the job's encoder, on the texts that C is estimated from.

    They are tokenised by the encoder's own tokenizer, without an end-of-sequence token. Raises
    `ModelError` if the encoder cannot be loaded.
    """
    assert job.encoder is not None
    place = model_source(job.encoder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
        with quiet_for_folders(place):
            model = T5EncoderModel.from_pretrained(place, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the encoder {job.encoder!r} cannot be loaded: {reason(error)}; give a T5 encoder by "
            "a bundled name, a folder, or a hub id"
        ) from error
    rows = tokenizer(list(material.texts[: 4 * depth.ROWS]), add_special_tokens=False)["input_ids"]
    ids = depth.windows(rows, [], depth.LENGTH)
    return depth.record(model.eval(), ids, places(model))


def places(model: PreTrainedModel) -> dict[int, tuple[nn.Module, nn.Module]]:
    """Down-projection and block of every layer of a T5 encoder."""
    blocks: Any = model.get_submodule("encoder.block")
    return {i: (block.layer[-1].DenseReluDense.wo, block) for i, block in enumerate(blocks)}


def rows(
    job: MechanismJob, found: Mapping[int, LayerActivations] | None
) -> Iterator[dict[str, Any]]:
    """Rows of `DEPTH`; none without an encoder."""
    if found:
        yield from depth.described(job.model.name, "encoder", found, job.seed)


def points(
    job: MechanismJob, found: Mapping[int, LayerActivations] | None
) -> Iterator[dict[str, Any]]:
    """Rows of `POINTS`: keys of the last block, as published, of first and of later tokens."""
    if found:
        last = found[max(found)].keys
        clouds = {FIRST: last[:, 0], LATER: last[:, 1::5].flatten(0, 1)}
        yield from placed(job.model.name, "encoder", clouds, job.seed)
