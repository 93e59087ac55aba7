"""The size of a model, from its configuration: parameters, operations per token, bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editcore.planning import preflight
from editcore.planning.jobs import ModelSpec

WIDTH = ("hidden_size", "n_embd", "d_model")
INNER = ("intermediate_size", "n_inner", "ffn_dim")
# Their MLPs have two linear maps; those of all others three, one of them a gate.
UNGATED = (
    "gpt2", "gptj", "gpt_neo", "gpt_neox", "gpt_bigcode", "opt", "phi", "falcon", "bloom",
    "nemotron", "starcoder2",
)  # fmt: skip
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class ModelSize:
    """A model's blocks, its width, the parameters of all blocks, and those of its embeddings."""

    layers: int
    width: int
    inner: int
    blocks: int
    embeddings: int
    stored: int  # bytes of a number

    @property
    def weight_bytes(self) -> int:
        """The bytes of all weights in memory."""
        return (self.blocks + self.embeddings) * self.stored

    @property
    def moment_bytes(self) -> int:
        """The bytes of C of one layer: a square matrix of keys' width, in float32."""
        return 4 * self.inner**2

    def forward(self, tokens: float, share: float = 1.0, *, head: bool = True) -> float:
        """Floating-point operations of a pass through a share of the blocks, and the head.

        Two for each parameter and token; attention itself is left out.
        """
        return 2 * tokens * (share * self.blocks + head * self.embeddings)

    def after(self, layer: int) -> float:
        """The share of the blocks from this one on.

        >>> ModelSize(4, 8, 32, 1000, 100, 4).after(1)
        0.75
        """
        return max(self.layers - layer, 1) / self.layers


def model_size(model: ModelSpec) -> ModelSize | None:
    """The size of a study's model; None if its configuration is not on this machine."""
    return from_configuration(preflight.configuration(model.source, model.revision), model.dtype)


def from_configuration(given: Mapping[str, Any], dtype: str) -> ModelSize | None:
    """The size of a model with this configuration; None if it lacks a number that is needed.

    >>> gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "vocab_size": 50257}
    >>> size = from_configuration(gpt2, "float32")
    >>> round((size.blocks + size.embeddings) / 1e6)
    124
    """
    config = {**given, **(given.get("text_config") or {})}
    width = _first(config, WIDTH)
    layers = _first(config, preflight.DEPTH_KEYS)
    words = _first(config, ("vocab_size",))
    if not (width and layers and words):
        return None
    inner = _first(config, INNER) or 4 * width
    heads = _first(config, ("num_attention_heads", "n_head")) or 1
    shared = (_first(config, ("num_key_value_heads",)) or heads) / heads
    maps = 2 if config.get("model_type") in UNGATED else 3
    block = 2 * width**2 * (1 + shared) + maps * width * inner
    return ModelSize(layers, width, inner, int(layers * block), words * width, BYTES[dtype])


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((int(config[key]) for key in keys if isinstance(config.get(key), int)), None)
