"""The weights of a saved model with a delta added, checked before anything is written."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from editcore.errors import DataError, ModelError, at, reason
from editcore.models.architectures import stores_transposed
from editcore.planning import preflight
from editcore.sources.safetensors_header import TensorPlace
from editcore.updates.delta import Delta
from editcore.updates.saved.edit_record import number_kind
from editcore.updates.saved.stored_weights import stored_name, stored_weights

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
)


def new_weights(delta: Delta, folder: Path) -> dict[str, bytes]:
    """The bytes of each changed weight, by its name in the files of the model in `folder`.

    Raises `ModelError` if the folder is not a model or stores a changed weight under no known name
    or in another shape, `PluginError` if the delta is another model's, `DataError` if a new weight
    would not be finite.
    """
    model = SavedModel(folder)
    return {
        key: model.added(key, model.places[key].read(), change)
        for key, change in model.changes(delta)
    }


class SavedModel:
    """The names, shapes and orientations of the parameters of a model in a folder's files.

    Raises `ModelError` if the folder is not a model.
    """

    def __init__(self, folder: Path) -> None:
        preflight.model_files(str(folder))
        self.places = stored_weights(folder)
        self._folder, self._model = folder, skeleton(folder)

    def changes(self, delta: Delta) -> Iterator[tuple[str, Float[Tensor, "*shape"]]]:
        """Each change of a weight as it is stored, by the weight's name in the files.

        Raises errors as `new_weights` does.
        """
        with at(str(self._folder)):
            delta.check(self._model)
        prefix = str(getattr(self._model, "base_model_prefix", ""))
        for name, update in delta.updates.items():
            key = stored_name([name], prefix, self.places, self._folder)
            change = update.dense()
            yield key, change.T if stores_transposed(self._model, name) else change

    def added(self, key: str, old: bytes, change: Float[Tensor, "*shape"]) -> bytes:
        """The bytes of a weight plus its change, added as `Delta.applied` adds them.

        Raises errors as `new_weights` does.
        """
        place = self.places[key]
        if place.shape != tuple(change.shape):
            raise ModelError(
                f"{place.file} has {key} of shape {place.shape}, but the model's config.json "
                f"requires {tuple(change.shape)}; get the checkpoint that belongs to it"
            )
        weight = as_tensor(key, place, old)
        weight = weight + change.cpu().to(weight.dtype)
        if not torch.isfinite(weight).all():
            raise DataError(
                f"the change of {key} gives weights that are not finite in {place.dtype}; make the "
                "edit again, with other options if this happens again"
            )
        return bytes(weight.contiguous().flatten().view(torch.uint8).numpy())


def as_tensor(key: str, place: TensorPlace, content: bytes) -> Float[Tensor, "*shape"]:
    """A weight from its bytes; `ModelError` for a dtype that cannot be changed."""
    number_kind(key, place)
    return torch.frombuffer(bytearray(content), dtype=DTYPES[place.dtype]).reshape(place.shape)


def skeleton(folder: Path) -> nn.Module:
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
