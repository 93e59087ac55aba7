"""Weights rounded as bitsandbytes stores them, with which transformers loads models in few bits.

8 bits are those of LLM.int8() (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339): whole
numbers from -127 to 127 times a scale of each output, found in float16. 4 bits are NF4 of QLoRA
(Dettmers et al. 2023, https://arxiv.org/abs/2305.14314): one of 16 quantiles of a normal
distribution times the largest of each 64 consecutive weights, which is kept in float32. Only
weights are rounded: the inputs of the maps, which LLM.int8() rounds too, stay as they are.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from editcore.errors import ModelError, reason

FORMATS: Mapping[int, str] = MappingProxyType({8: "bitsandbytes int8", 4: "bitsandbytes NF4"})
BLOCK = 64


def installed() -> bool:
    """Whether bitsandbytes can be imported."""
    try:
        import bitsandbytes  # noqa: F401
    except (ImportError, OSError):  # the latter if its library cannot be opened
        return False
    return True


def rounded(weight: Float[Tensor, "d_out d_in"], bits: int) -> Float[Tensor, "d_out d_in"]:
    """A weight rounded to 8 or 4 bits by bitsandbytes, which is imported, in its own dtype.

    Raises `ModelError` if bitsandbytes cannot compute on the weight's device.
    """
    from bitsandbytes import functional

    try:
        found = (_to_8 if bits == 8 else _to_4)(weight, functional)
    except RuntimeError as error:  # also if it has no library for this version of CUDA
        raise ModelError(
            f"bitsandbytes cannot round weights on {weight.device}: {reason(error)}; install one "
            "for this GPU, or uninstall it to round as GGUF does"
        ) from error
    return found.to(weight.dtype)


def _to_8(weight: Float[Tensor, "d_out d_in"], functional: Any) -> Float[Tensor, "d_out d_in"]:
    whole, scales, _ = functional.int8_vectorwise_quant(weight.half().contiguous())
    found: Tensor = functional.int8_vectorwise_dequant(whole, scales)
    return found


def _to_4(weight: Float[Tensor, "d_out d_in"], functional: Any) -> Float[Tensor, "d_out d_in"]:
    """Blocks continue from row to row, as in a stored model; only the last may be filled up.

    One block is one row here, because dequantising on a CPU with AVX-512 (bitsandbytes 0.50) takes
    wrong scales for rows that are not a multiple of the block.
    """
    count = weight.numel()
    blocks = pad(weight.float().flatten(), (0, -count % BLOCK)).view(-1, BLOCK)
    packed, state = functional.quantize_4bit(blocks, blocksize=BLOCK, quant_type="nf4")
    found: Tensor = functional.dequantize_4bit(packed, state)
    return found.flatten()[:count].view(weight.shape)
