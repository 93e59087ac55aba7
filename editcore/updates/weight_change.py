"""The weights of a saved model with a delta added, checked before anything is written."""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from editcore.errors import DataError, ModelError, at, reason
from editcore.models.architectures import stores_transposed
from editcore.planning import preflight
from editcore.sources.safetensors_header import TensorPlace
from editcore.updates.delta import Delta
from editcore.updates.edit_record import number_kind
from editcore.updates.stored_weights import stored_name, stored_weights


def new_weights(delta: Delta, folder: Path) -> dict[str, bytes]:
    """The bytes of each changed weight, by its name in the files of the model in `folder`.

    Raises `ModelError` if the folder is not a model or stores a changed weight under no known name
    or in another shape, `PluginError` if the delta is another model's, `DataError` if a new weight
    would not be finite.
    """
    preflight.model_files(str(folder))
    places = stored_weights(folder)
    model = _skeleton(folder)
    with at(str(folder)):
        delta.check(model)
    prefix = str(getattr(model, "base_model_prefix", ""))
    found = {}
    for name, update in delta.updates.items():
        key = stored_name([name], prefix, places, folder)
        change = update.dense()
        stored = change.T if stores_transposed(model, name) else change
        found[key] = _sum(key, places[key], stored)
    return found


def _skeleton(folder: Path) -> nn.Module:
    """The model without weights, which is enough to know shapes and orientations."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model: nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # transformers has errors of its own, and models' code has others
        raise ModelError(
            f"{folder / preflight.CONFIG_FILE} describes no model that transformers knows "
            f"({reason(error)}); get the model again"
        ) from error
    return model


def _sum(key: str, place: TensorPlace, change: torch.Tensor) -> bytes:
    """The bytes of weight plus change, added as `Delta.applied` adds them."""
    if place.shape != tuple(change.shape):
        raise ModelError(
            f"{place.file} has {key} of shape {place.shape}, but the model's config.json requires "
            f"{tuple(change.shape)}; get the checkpoint that belongs to it"
        )
    number_kind(key, place)
    with safe_open(place.file, framework="pt") as file:
        weight: torch.Tensor = file.get_tensor(key)
    weight = weight + change.cpu().to(weight.dtype)
    if not torch.isfinite(weight).all():
        raise DataError(
            f"the change of {key} gives weights that are not finite in {place.dtype}; make the "
            "edit again, with other options if this happens again"
        )
    return bytes(weight.contiguous().flatten().view(torch.uint8).numpy())
