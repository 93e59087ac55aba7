"""Weights rounded as GGUF stores them in Q8_0 and Q4_0, its usual 8 and 4 bits.

Each 32 consecutive inputs of an output share one scale, without an offset, in float16. With 8
bits, a weight is a whole number from -127 to 127 times the scale; with 4 bits one from -8 to 7, and
the scale's sign makes it -8 for the largest weight.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import pad

FORMATS: Mapping[int, str] = MappingProxyType({8: "GGUF Q8_0", 4: "GGUF Q4_0"})
BLOCK = 32


def rounded(weight: Float[Tensor, "d_out d_in"], bits: int) -> Float[Tensor, "d_out d_in"]:
    """A weight rounded to 8 or 4 bits, in its own dtype."""
    width = weight.shape[-1]
    blocks = pad(weight.float(), (0, -width % BLOCK)).unflatten(-1, (-1, BLOCK))
    found = (_to_8 if bits == 8 else _to_4)(blocks)
    return found.flatten(-2)[..., :width].to(weight.dtype)


_Blocks = Float32[Tensor, "d_out block number"]


def _to_8(blocks: _Blocks) -> _Blocks:
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    steps = blocks * _inverse(scale)
    return steps.sign() * (steps.abs() + 0.5).floor() * scale.half().float()


def _to_4(blocks: _Blocks) -> _Blocks:
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = largest / -8
    steps = (blocks * _inverse(scale) + 8.5).trunc().clamp(0, 15) - 8
    return steps * scale.half().float()


def _inverse(scale: Float32[Tensor, "d_out block 1"]) -> Float32[Tensor, "d_out block 1"]:
    return torch.where(scale == 0, 0.0, 1 / scale)
