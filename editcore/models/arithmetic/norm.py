"""Root-mean-square norms as one operation with its gradient, instead of fifteen on small tensors.

Each of those reads and writes all states again, which is felt where products are fast.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

EPSILON = "variance_epsilon"
# The size of states that a norm is tried on: with the smaller ones, ε decides.
SIZES = (1e-3, 1.0)
TOLERANCE = 1e-5


def use_fast_norms(model: PreTrainedModel) -> None:
    """Replace the norms of a model on a CPU that compute x w / sqrt(mean(x²) + ε), in place.

    Families have classes of their own for it, and some compute something else (Gemma has 1 + w). So
    each is tried on a few states, and stays as it is if its output is another.
    """
    fast: dict[type[nn.Module], type[nn.Module]] = {}
    for module in model.modules():
        if _is_rms_norm(module):
            kind = type(module)
            if kind not in fast:
                fast[kind] = type(f"Fast{kind.__name__}", (_FastNorm, kind), {})
            module.__class__ = fast[kind]


def _is_rms_norm(module: nn.Module) -> bool:
    weight, epsilon = getattr(module, "weight", None), getattr(module, EPSILON, None)
    if isinstance(module, _FastNorm) or not isinstance(epsilon, float):
        return False
    if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or not _is_usual(weight):
        return False
    if [*module.children()] or len([*module.parameters()]) != 1:
        return False
    draw = torch.Generator().manual_seed(0)
    states = torch.stack([size * torch.randn(len(weight), generator=draw) for size in SIZES])
    with torch.no_grad():
        expected = module(states)
        ours = rms_norm(states, weight, epsilon)
    return isinstance(expected, Tensor) and torch.allclose(ours, expected, rtol=TOLERANCE, atol=0)


def _is_usual(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


class _FastNorm(nn.Module):
    """The forward pass of a fast norm; the class of the family is its second base."""

    weight: Float[Tensor, " width"]
    variance_epsilon: float

    def forward(self, hidden_states: Float[Tensor, "*row width"]) -> Float[Tensor, "*row width"]:
        """The scaled states."""
        if self.weight.requires_grad or not _is_usual(hidden_states):
            return cast(Tensor, super().forward(hidden_states))
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def rms_norm(
    states: Float[Tensor, "*row width"], weight: Float[Tensor, " width"], epsilon: float
) -> Float[Tensor, "*row width"]:
    """X w / sqrt(mean(x²) + ε) for each state x, differentiable in x alone."""
    if torch.is_grad_enabled() and states.requires_grad:
        return cast(Tensor, _Norm.apply(states, weight, epsilon))  # type: ignore[no-untyped-call]
    return (states * _inverse_size(states, epsilon)).mul_(weight)


def _inverse_size(states: Float[Tensor, "*row width"], epsilon: float) -> Float[Tensor, "*row 1"]:
    """1 / sqrt(mean(x²) + ε)."""
    length: Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return length.square_().div_(states.shape[-1]).add_(epsilon).rsqrt_()


class _Norm(torch.autograd.Function):
    """With s = 1 / sqrt(mean(x²) + ε) and h = w g, the gradient is s (h - x s² mean(h x))."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        scale = _inverse_size(states, epsilon)
        ctx.save_for_backward(states, weight, scale)
        return (states * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        states, weight, scale = ctx.saved_tensors
        weighted = gradients[0] * weight
        along = torch.linalg.vecdot(weighted, states)[..., None]
        share = along.mul_(scale).mul_(scale).div_(-states.shape[-1])
        return weighted.addcmul_(states, share).mul_(scale), None, None
