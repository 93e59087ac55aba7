"""A model that the caller has loaded: used in place, never copied, and left as it was."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from editcore.config.study import FloatType
from editcore.datasets.bundled import bundled_name
from editcore.errors import ModelError
from editcore.models.chat import turn_of
from editcore.models.loading import LoadedModel, require_fit, wrap_model
from editcore.planning.model_types import refuse_unfit
from editcore.registry.registry import Registry
from editcore.requests import WITHOUT_CHAT

if TYPE_CHECKING:
    from editcore.planning.jobs import ModelSpec

# Of a model's configuration, what its computations do not depend on.
NOT_COMPUTED_WITH = ("_name_or_path", "transformers_version")


@dataclass(frozen=True)
class GivenModel:
    """A causal language model of transformers and its tokenizer, both in memory."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def of(cls, model: object, tokenizer: object) -> "GivenModel":
        """The two, if editcore can edit such a model; otherwise `ModelError` with the remedy."""
        if not isinstance(model, PreTrainedModel):
            raise ModelError(
                f"the model is a {type(model).__name__}, not a model of transformers; give what "
                "AutoModelForCausalLM.from_pretrained returns (of a peft model, that is what "
                "merge_and_unload() returns). `editcore.check` takes a model by name"
            )
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise ModelError(
                f"the tokenizer is a {type(tokenizer).__name__}; give the model's own, which "
                "AutoTokenizer.from_pretrained returns"
            )
        given = cls(model, tokenizer)
        refuse_unfit(given.name, model.config.to_dict())
        given._refuse_placement()
        require_fit(given.name, model, tokenizer)
        return given

    @property
    def name(self) -> str:
        """The bundled name, folder or hub id that it was loaded from; `model` if it was not."""
        place = self.model.name_or_path
        return (bundled_name(place) or place) if place else "model"

    @property
    def depth(self) -> int | None:
        """The number of blocks, if the configuration gives it."""
        found = getattr(self.model.config.get_text_config(), "num_hidden_layers", None)
        return found if isinstance(found, int) else None

    def settings(self, key: str) -> dict[str, Any]:
        """The model in a study; its source is the key of its weights."""
        device = self.model.device
        return {
            "source": f"in-memory/{key}",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": device.type if device.type == "mps" else str(device),
            "revision": None,
            "sha256": None,
        }

    def load(self, spec: "ModelSpec", registry: Registry) -> LoadedModel:
        """The model as a job names it: `editcore.models.loading.Load`, without loading anything."""
        loaded = wrap_model(spec.name, self.model, self.tokenizer, spec.precision, registry)
        turn = turn_of(spec.name, self.tokenizer) if spec.chat else WITHOUT_CHAT
        return replace(loaded, turn=turn)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A block for editcore's passes: gradients can be taken, and weights are frozen.

        Afterwards, each module is in the mode, and each parameter has the flag, that it had before.
        """
        modes = {module: module.training for module in self.model.modules()}
        flags = {parameter: parameter.requires_grad for parameter in self.model.parameters()}
        try:
            self.model.eval().requires_grad_(False)
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)

    def key(self) -> str:
        """16 hex digits of SHA-256 over the weights, the configuration and the tokenizer."""
        config = self.model.config.to_dict()
        about = {name: config[name] for name in config if name not in NOT_COMPUTED_WITH}
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        digest = hashlib.sha256(json.dumps([about, vocabulary], default=str).encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def _refuse_placement(self) -> None:
        """Refuse a model that is spread over devices, not loaded, or quantised."""
        devices = {parameter.device for parameter in self.model.parameters()}
        if len(devices) > 1 or "meta" in {device.type for device in devices}:
            places = ", ".join(sorted(map(str, devices)))
            raise ModelError(
                f"the weights of model {self.name!r} are on {places}; load all of them on one "
                "device, without device_map"
            )
        if getattr(self.model, "is_quantized", False):
            raise ModelError(
                f"the weights of model {self.name!r} are quantised, and a weight change cannot be "
                "added to such numbers; load it without quantization_config"
            )
        if (dtype := str(self.model.dtype).removeprefix("torch.")) not in get_args(FloatType):
            raise ModelError(
                f"the weights of model {self.name!r} are {dtype}; load it with dtype "
                f"{', '.join(get_args(FloatType))}"
            )
