"""bitsandbytes as a module that rounds as it does, and takes only what its CUDA functions take.

Its functions have names and arguments of bitsandbytes 0.50.
"""

import types
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

# Seven quantiles below 0 and eight above, found from the outermost one, which is 0.9677.
OUTERMOST, MIDDLE = 0.9677083, 0.5


def nf4() -> Tensor:
    """The sixteen numbers of NF4, from -1 to 1."""
    above, below = (norm.ppf(np.linspace(OUTERMOST, MIDDLE, n)[:-1]) for n in (9, 8))
    found = np.sort(np.concatenate([above, [0.0], -below]))
    return torch.tensor(found / found.max(), dtype=torch.float32)


@dataclass
class State:
    """What `dequantize_4bit` needs besides the packed numbers."""

    absmax: Tensor
    shape: torch.Size


def int8_vectorwise_quant(A: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor, None]:
    assert A.dtype == torch.float16 and A.is_contiguous() and not threshold
    stats = A.abs().amax(1).float()
    return (A * (127 / stats[:, None])).round().to(torch.int8), stats, None


def int8_vectorwise_dequant(A: Tensor, stats: Tensor) -> Tensor:
    assert A.dtype == torch.int8
    return A * stats[:, None] / 127


def quantize_4bit(
    A: Tensor, *, blocksize: int | None = None, quant_type: str = "fp4"
) -> tuple[Tensor, State]:
    assert A.is_contiguous() and quant_type == "nf4" and blocksize == 64
    blocks = A.view(-1, blocksize)
    absmax = blocks.abs().amax(1)
    code = nf4()
    nearest = torch.bucketize(blocks / absmax.clamp(min=1e-38)[:, None], (code[1:] + code[:-1]) / 2)
    high, low = nearest.to(torch.uint8).flatten().view(-1, 2).T
    return ((high << 4) | low)[:, None], State(absmax, A.shape)


def dequantize_4bit(A: Tensor, quant_state: State) -> Tensor:
    nearest = torch.cat([A >> 4, A & 15], dim=1).long()
    blocks = nf4()[nearest].view(len(quant_state.absmax), -1)
    return (blocks * quant_state.absmax[:, None]).view(quant_state.shape)


def modules() -> dict[str, types.ModuleType]:
    """The modules by name, for `sys.modules`."""
    package, functional = (
        types.ModuleType(name) for name in ("bitsandbytes", "bitsandbytes.functional")
    )
    for each in (int8_vectorwise_quant, int8_vectorwise_dequant, quantize_4bit, dequantize_4bit):
        setattr(functional, each.__name__, each)
    package.functional = functional  # type: ignore[attr-defined]
    return {"bitsandbytes": package, "bitsandbytes.functional": functional}
