"""Where the parts of a model are that editors touch, by the family of its architecture."""

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.errors import ModelError, PluginError
from editcore.registry.hookspecs import ModelFamilyInfo


class ModelParts:
    """The parts of one loaded model, by layer."""

    def __init__(self, model: PreTrainedModel, family: ModelFamilyInfo) -> None:
        self._model = model
        self.family = family
        self.blocks = _blocks(model, family)

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

    def logits(self, hidden: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row vocabulary"]:
        """The language-model head over hidden states."""
        logits: Tensor = self._model.get_output_embeddings()(hidden)
        return logits


def _blocks(model: PreTrainedModel, family: ModelFamilyInfo) -> nn.ModuleList:
    """The model's blocks; `PluginError` where the family's paths lead to no such parts."""
    path = family.blocks
    try:
        blocks = model.get_submodule(path)
        if not isinstance(blocks, nn.ModuleList) or not len(blocks):
            raise AttributeError
        for inside in (family.mlp, family.down):
            path = f"{family.blocks}.0.{inside}"
            blocks[0].get_submodule(inside)
    except AttributeError:
        raise PluginError(
            f"the model family {family.name!r} expects {path}, which a model of type "
            f"{model.config.model_type!r} does not have; report this to its authors"
        ) from None
    return blocks


def stores_transposed(model: nn.Module, parameter: str) -> bool:
    """Whether a weight is stored as `d_in x d_out` (GPT-2's Conv1D) instead of `d_out x d_in`."""
    module, _, part = parameter.rpartition(".")
    return part == "weight" and isinstance(model.get_submodule(module), Conv1D)
