"""Cheaper matrix products for the passes that search for v* and measure edited models.

Keys, denominators and solves are always in the model's own dtype or better.
"""

import copy
import functools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.config.study import Precision

# Without any of these, a processor multiplies bfloat16 many times slower than float32. With one, it
# is mostly faster, but not always: a virtual machine may hide the better of two.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
FASTER = 1.2  # how many times as fast it has to be; nearer to 1, a busy machine would decide
PRODUCT = (512, 768, 768)  # rows, d_in and d_out of the products timed
ROUNDS = 5


class ReducedLinear(nn.Module):
    """A frozen linear map that multiplies in bfloat16; its output has the dtype of its input.

    Where a processor does not multiply bfloat16 faster, the weight and the inputs are rounded to
    bfloat16 and multiplied in float32. The result is the same up to the order of summation.
    """

    weight: Float[Tensor, "d_out d_in"]
    bias: Float[Tensor, " d_out"] | None

    def __init__(self, whole: nn.Linear | Conv1D) -> None:
        super().__init__()
        self.register_buffer("weight", _rounded(whole), persistent=False)
        self.bias = whole.bias

    def forward(self, inputs: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """The map's output, in the inputs' dtype."""
        rounded = inputs.to(torch.bfloat16).to(self.weight.dtype)
        product = linear(rounded, self.weight).to(torch.bfloat16).to(inputs.dtype)
        return product if self.bias is None else product + self.bias


def reduced(model: PreTrainedModel) -> PreTrainedModel:
    """A twin whose linear maps are `ReducedLinear`; everything else is shared, not copied.

    The head is not reduced: bfloat16 cannot tell a logit of 15 from one of 15.03, so the likeliest
    tokens would be tied, and the smallest edit would change them.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: PreTrainedModel = copy.deepcopy(model, shared)
    head = twin.get_output_embeddings()
    for parent in [*twin.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, nn.Linear | Conv1D) and child is not head:
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


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32; timed once per process on a CPU."""
    return device.type != "cpu" or _processor_does()


@functools.cache
def _processor_does() -> bool:
    found = torch.cpu.get_capabilities()
    if not any(found.get(name) for name in INSTRUCTIONS):
        return False
    rows, d_in, d_out = PRODUCT
    operands = [
        (torch.ones(rows, d_in, dtype=dtype), torch.ones(d_out, d_in, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    # The shortest time, and by turns, so that what else the machine does weighs little.
    rounds = [[_seconds(*pair) for pair in operands] for _ in range(ROUNDS)]
    whole, half = (float(min(times)) for times in zip(*rounds, strict=True))
    return whole > FASTER * half


def _seconds(inputs: Tensor, weight: Tensor) -> float:
    started = time.perf_counter()
    linear(inputs, weight)
    return time.perf_counter() - started


def _rounded(whole: nn.Linear | Conv1D) -> Float[Tensor, "d_out d_in"]:
    weight = whole.weight.T if isinstance(whole, Conv1D) else whole.weight
    rounded = weight.detach().to(torch.bfloat16).contiguous()
    return rounded if multiplies_bfloat16(weight.device) else rounded.float()


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let float32 products on CUDA run in TF32 inside the block, if `precision` is `tf32`."""
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = before or precision == "tf32"
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
