"""Where a model keeps the parts that editors touch, found from its structure and forward passes.

The blocks are the list of modules with as many entries as the configuration has layers; of several
such lists, the one with the most parameters. In a block, the down-projection is the last linear map
to run outside attention; the MLP is the module around it. How a block uses its MLP's output is
measured, not declared.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.errors import EditcoreError, ModelError, PluginError, out_of_memory, reason
from editcore.registry.hookspecs import ModelFamilyInfo

LINEAR = (nn.Linear, Conv1D)
# Norm of what is added to measure how a block uses its MLP's output, relative to the states'.
SHARE = 0.5
# Largest relative difference between what was added and what arrives, apart from rounding.
CLOSE = 0.01


@dataclass(frozen=True)
class Anatomy:
    """The paths of a model's parts, and how a block uses its MLP.

    `blocks` is the path of the list of blocks; the other paths are relative to a block. `mlp` is
    the module whose output is the MLP's: the MLP itself or, if no module has that output, the
    down-projection. `maps` are the linear maps of the MLP. `joins`: blocks add their MLP's output
    to the states unchanged, without a norm or a factor. `gives_tuple`: blocks return a tuple with
    the states first. `flat`: blocks pass all rows to the MLP as one long row. `plain_head`: the
    output embeddings alone give the logits, without a cap or a factor.
    """

    blocks: str
    mlp: str
    down: str
    maps: tuple[str, ...]
    joins: bool
    gives_tuple: bool
    flat: bool
    plain_head: bool

    def path(self, layer: int, part: str) -> str:
        """The path, from the model, of a part of the block at `layer`."""
        return f"{self.blocks}.{layer}.{part}"

    def inside_mlp(self, path: str) -> bool:
        """Whether a module, given by its path, is a map that only another map of its MLP reads."""
        _, _, inside = path.removeprefix(f"{self.blocks}.").partition(".")
        within = path.startswith(f"{self.blocks}.") and inside in self.maps
        return within and inside != self.down


def anatomy_of(
    model: PreTrainedModel, ids: Sequence[int], family: ModelFamilyInfo | None = None
) -> Anatomy:
    """Find a model's parts, at the paths that `family` names if one is given.

    `ids` are the tokens of any text, to run the model on. Raises `ModelError` if the structure is
    not that of a language model with one MLP per block, `PluginError` if a family's path does not
    exist.
    """
    blocks = family.blocks if family else _path_of_blocks(model)
    every = _blocks_at(model, blocks, family)
    block = every[len(every) // 2]
    text = torch.tensor([[*ids]], device=model.device)
    seen = _seen_in(model, block, text)
    down = family.down if family else _down(model, block, seen)
    if down not in seen.outputs:
        raise _absent(model, f"{blocks}.0.{down}", family)
    mlp, maps = _around(block, down, seen)
    if family and family.mlp:
        mlp = family.mlp
    for i, each in enumerate(every):
        for path in (mlp, down):
            _require(each, path, f"{blocks}.{i}", model, family)
    if seen.outputs[down].shape[-1] != seen.states.shape[-1]:
        raise _absent(model, f"an MLP that ends with {down}", family)
    flat = seen.outputs[down].ndim < seen.states.ndim
    joins = _joins(model, block, down, text)
    return Anatomy(
        blocks, mlp, down, maps, joins, seen.gives_tuple, flat, _has_plain_head(model, text)
    )


@dataclass(frozen=True)
class _Seen:
    """A block's states in a forward pass, and its modules' outputs in the order they ran."""

    states: Tensor
    outputs: Mapping[str, Tensor]
    gives_tuple: bool


@torch.no_grad()
def _seen_in(model: PreTrainedModel, block: nn.Module, text: Tensor) -> _Seen:
    outputs: dict[str, Any] = {}

    def keep(path: str, _: nn.Module, __: Any, output: Any) -> None:
        outputs.pop(path, None)
        outputs[path] = output

    with ExitStack() as stack:
        for path, module in block.named_modules():
            stack.enter_context(module.register_forward_hook(partial(keep, path)))
        try:
            model(input_ids=text, use_cache=False)
        except Exception as error:
            if out_of_memory(error):
                raise
            raise ModelError(
                f"a model of type {model.config.model_type!r} fails when it reads "
                f"{text.shape[1]} tokens ({type(error).__name__}: {reason(error)}); correct its "
                "configuration, or use another model"
            ) from error
    whole = outputs.pop("")
    tensors = {path: _first(output) for path, output in outputs.items()}
    tensors = {path: tensor for path, tensor in tensors.items() if isinstance(tensor, Tensor)}
    return _Seen(_first(whole), tensors, isinstance(whole, tuple | list))


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple | list) else output


def _path_of_blocks(model: PreTrainedModel) -> str:
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    lists: dict[str, int] = {
        path: sum(parameter.numel() for parameter in module.parameters())
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    }
    if not lists:
        raise ModelError(
            f"a model of type {model.config.model_type!r} has no list of {depth} blocks, so its "
            "parts cannot be found; a plugin can name them (docs/writing-an-editor.md)"
        )
    return max(lists, key=lists.__getitem__)


def _blocks_at(model: PreTrainedModel, path: str, family: ModelFamilyInfo | None) -> nn.ModuleList:
    try:
        blocks = model.get_submodule(path)
    except AttributeError:
        blocks = None
    if isinstance(blocks, nn.ModuleList) and len(blocks):
        return blocks
    raise _absent(model, path, family)


def _require(
    block: nn.Module, path: str, where: str, model: PreTrainedModel, family: ModelFamilyInfo | None
) -> None:
    try:
        block.get_submodule(path)
    except AttributeError:
        raise _absent(model, f"{where}.{path}", family) from None


def _absent(model: PreTrainedModel, path: str, family: ModelFamilyInfo | None) -> EditcoreError:
    kind = repr(model.config.model_type)
    if family is None:
        return ModelError(
            f"a model of type {kind} has no {path}, which other blocks of it have; editcore edits "
            "models whose blocks are alike"
        )
    return PluginError(
        f"the model family {family.name!r} expects {path}, which a model of type {kind} does "
        "not have; report this to its authors"
    )


def _down(model: PreTrainedModel, block: nn.Module, seen: _Seen) -> str:
    """The last linear map to run outside attention whose output is as wide as the block's."""
    width = seen.states.shape[-1]
    found = [
        path
        for path, output in seen.outputs.items()
        if isinstance(block.get_submodule(path), LINEAR)
        and output.shape[-1] == width
        and not _in_attention(block, path)
    ]
    if not found:
        raise ModelError(
            f"the blocks of a model of type {model.config.model_type!r} have no MLP that ends in a "
            "linear map, so there is no key and no value to edit; use another model"
        )
    return found[-1]


def _in_attention(block: nn.Module, path: str) -> bool:
    names = path.split(".")
    around = (block.get_submodule(".".join(names[:i])) for i in range(1, len(names)))
    return any("attention" in type(module).__name__.lower() for module in around)


def _around(block: nn.Module, down: str, seen: _Seen) -> tuple[str, tuple[str, ...]]:
    """The MLP around a down-projection, and the paths of its linear maps."""
    around = down.rpartition(".")[0]
    parent = block.get_submodule(around)
    maps = tuple(
        f"{around}.{name}".lstrip(".")
        for name, module in parent.named_children()
        if isinstance(module, LINEAR)
    )
    whole = around in seen.outputs and torch.equal(seen.outputs[around], seen.outputs[down])
    return (around if whole else down), maps


@torch.no_grad()
def _has_plain_head(model: PreTrainedModel, text: Tensor) -> bool:
    hidden = model.base_model(input_ids=text, use_cache=False).last_hidden_state
    logits = model(input_ids=text, use_cache=False).logits
    head = model.get_output_embeddings()
    if getattr(head, "in_features", hidden.shape[-1]) != hidden.shape[-1]:
        return False
    return torch.equal(head(hidden), logits)


@torch.no_grad()
def _joins(model: PreTrainedModel, block: nn.Module, down: str, text: Tensor) -> bool:
    """Whether a block's states change by just what is added to the down-projection's output."""
    states: list[Tensor] = []
    added: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        states.append(_first(output))

    def add(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        direction = output.roll(1, -1)
        size = states[0].reshape(output.shape).norm(dim=-1, keepdim=True)
        added.append(SHARE * size * direction / direction.norm(dim=-1, keepdim=True))
        return output + added[0]

    with block.register_forward_hook(keep):
        model(input_ids=text, use_cache=False)
        with block.get_submodule(down).register_forward_hook(add):
            model(input_ids=text, use_cache=False)
    before, after = (each.double() for each in states)
    sent = added[0].double().reshape(before.shape)
    allowed = CLOSE + 8 * torch.finfo(states[0].dtype).eps
    return bool((after - before - sent).norm() <= allowed * sent.norm())
