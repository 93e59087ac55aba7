"""What an editor has learnt about a model before its first edit, as a file bound to that model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from editcore.errors import DataError
from editcore.records.provenance import versions
from editcore.records.tensors import opened, save_tensors

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class TrainedParts:
    """The tensors that training gave, and what the editor recorded about them, for JSON."""

    tensors: Mapping[str, torch.Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(model: "LoadedModel", layers: Sequence[int]) -> str:
    """A hash of the weights of some blocks and of the model's shape.

    Weights are rounded to bfloat16 first, so that a model has one hash in float32 and bfloat16.
    """
    config = model.model.config
    shape = (config.model_type, model.parts.depth, config.hidden_size, config.vocab_size)
    digest = hashlib.sha256(repr(shape).encode())
    for layer in sorted(set(layers)):
        for name, parameter in model.parts.block(layer).named_parameters():
            digest.update(f"{layer}.{name}".encode())
            whole = parameter.detach().to("cpu", torch.bfloat16).contiguous()
            digest.update(whole.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_trained(
    parts: TrainedParts, path: Path, model: "LoadedModel", layers: Sequence[int], job: str
) -> None:
    """Write what was trained for a model whose `layers` it edits, whole or not at all."""
    about = {
        "model": model.name,
        "fingerprint": fingerprint(model, layers),
        "about": json.dumps(parts.about),
        "job": job,
        "versions": json.dumps(versions()),
    }
    save_tensors(path, parts.tensors, about)


def load_trained(model: "LoadedModel", layers: Sequence[int], path: Path) -> TrainedParts:
    """Read what `save_trained` wrote; `DataError` for anything else and for another model's."""
    remedy = "`editcore train` writes such files, so delete it and run again, or name another"
    with opened(path, "trained parts of an editor", remedy) as file:
        bound, trained_on = file.about["fingerprint"], file.about["model"]
        parts = TrainedParts(file.all(), dict(json.loads(file.about["about"])))
    own = fingerprint(model, layers)
    if bound != own:
        raise DataError(
            f"{path} was trained for the model {trained_on!r} with other weights or for other "
            f"layers ({bound}) than layers {', '.join(map(str, layers))} of {model.name!r} "
            f"({own}); {_remedy(model)}"
        )
    return parts


def _remedy(model: "LoadedModel") -> str:
    again = "leave the option out to train again, or give the file of this model"
    if model.model.dtype != torch.float16:
        return again
    # From float16, weights are rounded a second time, and small ones are lost.
    return f"float16 changes weights, so load the model in another dtype; or {again}"
