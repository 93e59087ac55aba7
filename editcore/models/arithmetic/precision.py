"""Cheaper matrix products for the passes that search for v* and measure edited models.

Keys, denominators and solves are always in the model's own dtype or better.
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from editcore.config.study import Precision

# Without any of these, a processor multiplies bfloat16 many times slower than float32. With one, it
# is mostly faster, but not always: a virtual machine may hide the better of two.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
FASTER = 1.2  # how many times as fast it has to be; nearer to 1, a busy machine would decide
PRODUCT = (512, 768, 768)  # rows, d_in and d_out of the products timed
ROUNDS = 5


class ReducedLinear(nn.Module):
    """A frozen linear map that multiplies in bfloat16.

    Its output is of `output_dtype`: the model's own or, for a map whose output only the next map of
    the same MLP reads, bfloat16. Where a processor does not multiply bfloat16 faster, the weight
    and the inputs are rounded to bfloat16 and multiplied in float32. The result is the same up to
    the order of summation.
    """

    weight: Float[Tensor, "d_out d_in"]
    bias: Float[Tensor, " d_out"] | None

    def __init__(self, whole: nn.Linear | Conv1D, output_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", rounded_weight(whole), persistent=False)
        self.bias = whole.bias
        self.output_dtype = output_dtype or whole.weight.dtype

    def forward(self, inputs: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """The map's output."""
        product = rounded_product(inputs, self.weight, self.output_dtype)
        return product if self.bias is None else product + self.bias.to(self.output_dtype)


def rounded_product(
    inputs: Float[Tensor, "*row d_in"], weight: Float[Tensor, "d_out d_in"], dtype: torch.dtype
) -> Float[Tensor, "*row d_out"]:
    """X Wᵀ multiplied in bfloat16, as `dtype`; differentiable in x alone, with a rounded gradient.

    The weight is a `rounded_weight`.
    """
    if torch.is_grad_enabled() and inputs.requires_grad:
        return cast(Tensor, _Rounded.apply(inputs, weight, dtype))  # type: ignore[no-untyped-call]
    rounded = inputs.to(torch.bfloat16).to(weight.dtype)
    return linear(rounded, weight).to(torch.bfloat16).to(dtype)


class _Rounded(torch.autograd.Function):
    """A rounded product and its gradient, as one operation instead of four."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dtype = inputs.dtype
        return rounded_product(inputs, weight, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return rounded_product(gradients[0], weight.T, ctx.dtype), None, None


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


def rounded_weight(whole: nn.Linear | Conv1D) -> Float[Tensor, "d_out d_in"]:
    """A map's weight in bfloat16, or in float32 where that is multiplied faster."""
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
