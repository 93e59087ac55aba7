"""Models for the comparison: the bundled ones, and well-known shapes with random weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import AutoConfig

from editcore.config.study import Precision
from editcore.models.arithmetic.kernels import use_fast_kernels
from editcore.models.gguf import loadable
from editcore.models.loading import (
    LoadedModel,
    load_model,
    load_tokenizer,
    wrap_model,
)


@dataclass(frozen=True)
class Shape:
    """An architecture and the layer that is edited; without `options`, a bundled model."""

    layer: int
    model_type: str = ""
    options: Mapping[str, Any] | None = None


_GPT2 = {"vocab_size": 50257, "n_positions": 1024}
SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "tiny-gpt2": Shape(2),
        "tiny-llama": Shape(2),
        "gpt2-small": Shape(5, "gpt2", {**_GPT2, "n_layer": 12, "n_embd": 768, "n_head": 12}),
        "gpt2-xl": Shape(17, "gpt2", {**_GPT2, "n_layer": 48, "n_embd": 1600, "n_head": 25}),
        "gpt-j-6b": Shape(
            5,
            "gptj",
            {"vocab_size": 50400, "n_layer": 28, "n_embd": 4096, "n_head": 16, "rotary_dim": 64},
        ),
    }
)


@dataclass(frozen=True)
class Pair:
    """The same weights twice: as editcore loads them, and as transformers loads them."""

    fast: LoadedModel
    plain: LoadedModel


def build(
    name: str,
    *,
    device: str,
    precision: Precision,
    tokenizer: PreTrainedTokenizerBase | None,
    depth: int | None = None,
) -> Pair:
    """Both models of a shape: random weights from seed 0, and by default a bundled tokenizer."""
    how = {"device": device, "tokenizer": tokenizer, "depth": depth}
    return Pair(
        one(name, fast=True, precision=precision, **how),
        one(name, fast=False, precision="float32", **how),
    )


def one(
    name: str,
    *,
    fast: bool,
    device: str,
    precision: Precision,
    tokenizer: PreTrainedTokenizerBase | None,
    depth: int | None = None,
) -> LoadedModel:
    """The model of a shape or any other source, as editcore loads it or as transformers does."""
    shape = SHAPES.get(name)
    if shape is None or not shape.model_type:
        if fast:
            return load_model(name, name, device=device, precision=precision)
        place = loadable(name)
        plain = AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, use_safetensors=True
        )
        return wrap_model(name, plain.to(device), load_tokenizer(name))
    options = dict(shape.options or {})
    options["n_layer"] = depth or options["n_layer"]
    config = AutoConfig.for_model(shape.model_type, **options)
    words = tokenizer or load_tokenizer("tiny-gpt2")
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if fast:
        use_fast_kernels(model)
    return wrap_model(name, model, words, precision)
