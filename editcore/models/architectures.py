"""The parts of a loaded model that editors touch, by layer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from jaxtyping import Float, Float32
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.pytorch_utils import Conv1D

from editcore.errors import ModelError
from editcore.models.anatomy import Anatomy
from editcore.models.arithmetic.head import KnownLogits, is_rounded, logits_near

# Attribute of a flat block's linear maps: how many rows and positions the block reads.
ROWS = "_rows_and_positions"


class ModelParts:
    """The parts of one loaded model, by layer."""

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy) -> None:
        self._model = model
        self.anatomy = anatomy
        blocks = model.get_submodule(anatomy.blocks)
        assert isinstance(blocks, nn.ModuleList)
        self.blocks = blocks
        if anatomy.flat:
            for block in self.blocks:
                block.register_forward_pre_hook(partial(_note_rows, anatomy.maps), with_kwargs=True)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def block(self, layer: int) -> nn.Module:
        """The block at `layer`; `ModelError` if the model is not that deep."""
        if not 0 <= layer < self.depth:
            raise ModelError(
                f"layer {layer} is outside the model, whose layers are 0 to {self.depth - 1}; "
                "choose one of these"
            )
        return self.blocks[layer]

    def mlp(self, layer: int) -> nn.Module:
        """The module at `layer` whose output is the MLP's (`Anatomy.mlp`)."""
        return self.block(layer).get_submodule(self.anatomy.mlp)

    def down(self, layer: int) -> nn.Module:
        """The down-projection of the block at `layer`."""
        return self.block(layer).get_submodule(self.anatomy.down)

    def down_weight(self, layer: int) -> str:
        """The name of the down-projection's weight, as in `named_parameters`."""
        self.block(layer)
        return self.anatomy.path(layer, f"{self.anatomy.down}.weight")

    def block_of(self, parameter: str) -> int | None:
        """The layer whose block a parameter belongs to; None for embeddings, last norm and head."""
        prefix = f"{self.anatomy.blocks}."
        inside = parameter.startswith(prefix)
        return int(parameter.removeprefix(prefix).split(".")[0]) if inside else None

    def logits(self, hidden: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row vocabulary"]:
        """The model's logits for last hidden states, with the caps and factors that it applies.

        Unless the head is plain, they are computed by the model's own forward pass, with `hidden`
        in place of the decoder's output.
        """
        if self.anatomy.plain_head:
            plain: Tensor = self._model.get_output_embeddings()(hidden)
            return plain
        states = hidden.reshape(1, -1, hidden.shape[-1])
        given = BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=states)
        decoder = self._model.get_submodule(self.anatomy.blocks.rpartition(".")[0])
        decoder.__dict__["forward"] = lambda *_, **__: given
        try:
            logits: Tensor = self._model(input_ids=None, use_cache=False).logits
        finally:
            decoder.__dict__.pop("forward")
        return logits.reshape(*hidden.shape[:-1], -1)

    @property
    def head_is_rounded(self) -> bool:
        """Whether `logits_near` multiplies in bfloat16, and known logits are worth their price."""
        return self.anatomy.plain_head and is_rounded(self._model.get_output_embeddings())

    def logits_near(
        self, known: KnownLogits, hidden: Float[Tensor, "*row d_last"]
    ) -> Float32[Tensor, "*row vocabulary"]:
        """The logits for states near others whose logits are known (`head_is_rounded`)."""
        return logits_near(self._model.get_output_embeddings(), known, hidden)


def _note_rows(
    maps: Sequence[str], block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """Record on the linear maps of a flat block how many rows and positions the block reads."""
    states = inputs[0] if inputs else named["hidden_states"]
    for path in maps:
        block.get_submodule(path).__dict__[ROWS] = states.shape[:2]


def stores_transposed(model: nn.Module, parameter: str) -> bool:
    """Whether a weight is stored as `d_in x d_out` (GPT-2's Conv1D) instead of `d_out x d_in`."""
    module, _, part = parameter.rpartition(".")
    return part == "weight" and isinstance(model.get_submodule(module), Conv1D)
