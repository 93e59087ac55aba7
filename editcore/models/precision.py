"""Cheaper matrix products for the passes that search for v* and measure edited models.

Keys, denominators and solves are always in the model's own dtype or better.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.config.study import Precision


class ReducedLinear(nn.Module):
    """A frozen linear map that multiplies in bfloat16; its output has the dtype of its input."""

    weight: BFloat16[Tensor, "d_out d_in"]
    bias: Float[Tensor, " d_out"] | None

    def __init__(self, whole: nn.Linear | Conv1D) -> None:
        super().__init__()
        self.register_buffer("weight", _rounded(whole), persistent=False)
        self.bias = whole.bias

    def forward(self, inputs: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """The map's output, in the inputs' dtype."""
        product = linear(inputs.to(torch.bfloat16), self.weight).to(inputs.dtype)
        return product if self.bias is None else product + self.bias


def reduced(model: PreTrainedModel) -> PreTrainedModel:
    """A twin whose linear maps are `ReducedLinear`; everything else is shared, not copied."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: PreTrainedModel = copy.deepcopy(model, shared)
    for parent in [*twin.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, nn.Linear | Conv1D):
                setattr(parent, name, ReducedLinear(child))
    return twin


def refresh(twin: PreTrainedModel, model: PreTrainedModel, parameters: Iterable[str]) -> None:
    """Round the model's changed weights again; the twin shares everything else.

    A weight may have several names, for example when head and embedding are tied.
    """
    changed = {id(model.get_parameter(name)) for name in parameters}
    for path, child in twin.named_modules():
        if isinstance(child, ReducedLinear):
            whole = model.get_submodule(path)
            assert isinstance(whole, nn.Linear | Conv1D)
            if id(whole.weight) in changed:
                child.weight = _rounded(whole)


def _rounded(whole: nn.Linear | Conv1D) -> BFloat16[Tensor, "d_out d_in"]:
    weight = whole.weight.T if isinstance(whole, Conv1D) else whole.weight
    return weight.detach().to(torch.bfloat16).contiguous()


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let float32 products on CUDA run in TF32 inside the block, if `precision` is `tf32`."""
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = before or precision == "tf32"
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
