"""Adapters on a twin of the model, which shares its weights: the model itself is never touched."""

import copy
from collections.abc import Iterable, Sequence

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore import ModelError
from editcore.toolkit import LoadedModel, LowRankUpdate
from editcore_lora.config import LoraEditConfig

LINEAR = (nn.Linear, Conv1D)
NAME = "default"
# Query and value projections, or the one map that also computes them in some families.
ATTENTION = (("q_proj", "v_proj"), ("query_key_value",), ("c_attn",), ("qkv_proj",))


class AdaptedTwin:
    """A twin of a model with new adapters, of which `parameters` are trained.

    Their first values are drawn from torch's own generator. Raises `ModelError` if the blocks lack
    a target.
    """

    def __init__(self, model: LoadedModel, config: LoraEditConfig) -> None:
        paths = target_paths(model, config)
        self.model = twin_of(model.model)
        transposed = isinstance(model.model.get_submodule(paths[0]), Conv1D)
        adapted = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=paths,
            fan_in_fan_out=transposed,
        )
        inject_adapter_in_model(adapted, self.model, NAME)
        self._layers: dict[str, LoraLayer] = {}
        for path in paths:
            layer = self.model.get_submodule(path)
            assert isinstance(layer, LoraLayer)
            self._layers[path] = layer
            layer.lora_dropout.train()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """A and B of every adapter."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @torch.no_grad()
    def updates(self) -> dict[str, LowRankUpdate]:
        """The change of each target's weight, by the name of the weight."""
        return {f"{path}.weight": _update(layer) for path, layer in self._layers.items()}


def _update(layer: LoraLayer) -> LowRankUpdate:
    """(α / rank)·B·A as factors."""
    a, b = (getattr(layer, part)[NAME].weight for part in ("lora_A", "lora_B"))
    return LowRankUpdate((layer.scaling[NAME] * b).clone(), a.T.clone())


def twin_of(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the modules with the same parameters and buffers, which are not copied."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def target_paths(model: LoadedModel, config: LoraEditConfig) -> list[str]:
    """The paths of the maps that change, block by block; `ModelError` if a block lacks one."""
    layers = range(model.parts.depth) if config.layers is None else sorted(config.layers)
    return [path for layer in layers for path in _of_block(model, layer, config.targets)]


def _of_block(model: LoadedModel, layer: int, targets: Sequence[str] | None) -> list[str]:
    block = model.parts.block(layer)
    maps = [path for path, module in block.named_modules() if isinstance(module, LINEAR)]
    last = {path: path.rpartition(".")[2] for path in maps}
    known = [names for names in ATTENTION if {*names} <= {*last.values()}]
    if targets is None and not known:
        raise ModelError(
            f"block {layer} of model {model.name!r} has no query and value projection with a known "
            f"name; choose `targets` from {_listed(last.values())}"
        )
    wanted = targets or known[0]
    if absent := [name for name in wanted if name not in {*last.values(), *maps}]:
        raise ModelError(
            f"block {layer} of model {model.name!r} has no linear map {absent[0]!r}; choose "
            f"`targets` from {_listed(last.values())}"
        )
    chosen = [path for path in maps if path in wanted or last[path] in wanted]
    return [model.anatomy.path(layer, path) for path in chosen]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted({*names}))
