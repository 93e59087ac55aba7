"""Where each architecture keeps the parts that editors touch. Another family is one entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.errors import ModelError


@dataclass(frozen=True)
class Family:
    """Module paths of one architecture; `mlp` and `down` are relative to a block.

    `down` is the MLP's second linear map: its input is the *key* and its output the *value* in the
    reading of feed-forward layers as memories (Meng et al. 2022, §3.1). Most blocks give their
    states; `block_gives_tuple` is for those that give a tuple with the states in front.
    """

    blocks: str
    down: str
    mlp: str = "mlp"
    block_gives_tuple: bool = False


_LLAMA_LIKE = Family("model.layers", "mlp.down_proj")

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "gpt2": Family("transformer.h", "mlp.c_proj"),
        "gptj": Family("transformer.h", "mlp.fc_out", block_gives_tuple=True),
        "gpt_neox": Family("gpt_neox.layers", "mlp.dense_4h_to_h"),
        "llama": _LLAMA_LIKE,
        "mistral": _LLAMA_LIKE,
        "qwen2": _LLAMA_LIKE,
        "qwen3": _LLAMA_LIKE,
        "gemma": _LLAMA_LIKE,
        "phi": Family("model.layers", "mlp.fc2"),
    }
)


def family_of(model_type: str) -> Family:
    """The family of a transformers `model_type`; `ModelError` names the known ones otherwise."""
    try:
        return FAMILIES[model_type]
    except KeyError:
        raise ModelError(
            f"model type {model_type!r} is not known to editcore; known: {', '.join(FAMILIES)}. "
            "A new one is one entry in editcore/models/architectures.py"
        ) from None


class ModelParts:
    """The parts of one loaded model, by layer."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.family = family_of(model.config.model_type)
        blocks = model.get_submodule(self.family.blocks)
        assert isinstance(blocks, nn.ModuleList)
        self.blocks = blocks

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def block(self, layer: int) -> nn.Module:
        """The block at `layer`; `ModelError` where the model is not that deep."""
        if not 0 <= layer < self.depth:
            raise ModelError(
                f"layer {layer} is outside the model, whose layers are 0 to {self.depth - 1}"
            )
        return self.blocks[layer]

    def mlp(self, layer: int) -> nn.Module:
        """The MLP of the block at `layer`."""
        return self.block(layer).get_submodule(self.family.mlp)

    def down(self, layer: int) -> nn.Module:
        """The down-projection of the block at `layer`."""
        return self.block(layer).get_submodule(self.family.down)

    def down_weight(self, layer: int) -> str:
        """The name of the down-projection's weight, as in `named_parameters`."""
        self.block(layer)
        return f"{self.family.blocks}.{layer}.{self.family.down}.weight"

    def block_of(self, parameter: str) -> int | None:
        """The layer whose block a parameter belongs to; None for embeddings, last norm and head."""
        prefix = f"{self.family.blocks}."
        inside = parameter.startswith(prefix)
        return int(parameter.removeprefix(prefix).split(".")[0]) if inside else None

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The language-model head over hidden states of shape `[rows, d_model]`."""
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden)
        return logits


def stores_transposed(model: nn.Module, parameter: str) -> bool:
    """Whether a weight is stored as `d_in x d_out` (GPT-2's Conv1D) instead of `d_out x d_in`."""
    module, _, part = parameter.rpartition(".")
    return part == "weight" and isinstance(model.get_submodule(module), Conv1D)
