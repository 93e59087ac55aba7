"""Operations of a loaded model replaced by faster ones with the same result up to rounding."""

import functools
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from editcore.models.arithmetic.attention import use_short_attention

# torch multiplies float32 with Intel's MKL. On processors by AMD oneDNN, which torch has as well,
# takes 5 to 15 % less time, and up to 40 % less for heads (`python -m benchmarks products`).
VENDOR = "AMD"
OPERATION = "_linear_pointwise"  # torch's own compiler calls it for linear maps
WORTH = 10_000_000  # multiplications of a product from which oneDNN's longer start pays


def use_fast_kernels(model: PreTrainedModel) -> None:
    """Replace tanh-GELU, short attention and float32 products of linear maps, in place.

    GPT-2's tanh-GELU is one operation instead of eight. The maps stay what they are, with the same
    weights under the same names.
    """
    use_short_attention(model)
    replace_maps = multiplies_with_onednn(model.device)
    for module in [*model.modules()]:
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
        if replace_maps and type(module) in FAST:
            module.__class__ = FAST[type(module)]


def multiplies_with_onednn(device: torch.device) -> bool:
    """Whether float32 products on a device are faster by oneDNN, and this torch can do them so."""
    return device.type == "cpu" and _by_amd() and _operation() is not None


@functools.cache
def _by_amd() -> bool:
    return VENDOR in str(torch.cpu.get_capabilities().get("cpu_name", ""))


@functools.cache
def _operation() -> Any:
    """OneDNN's product in torch; None if this torch has none, or one that takes other arguments."""
    found = getattr(torch.ops.mkldnn, OPERATION, None)
    if found is None or not torch.backends.mkldnn.is_available():
        return None
    inputs, weight = torch.eye(2, 3), torch.eye(4, 3)
    try:
        with torch.no_grad():
            right = torch.equal(_by_onednn(found, inputs, weight, None), linear(inputs, weight))
    except (RuntimeError, TypeError):
        return None
    return found if right else None


class OneDnnLinear(nn.Linear):
    """A linear map whose large float32 products with frozen weights are oneDNN's."""

    def forward(self, input: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """The map's output."""
        if _pays(input, self.weight, self.bias):
            return product(input, self.weight, self.bias)
        return super().forward(input)


class OneDnnConv1D(Conv1D):
    """The same for GPT-2's linear map, whose weight is stored as `d_in x d_out`."""

    def forward(self, x: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """The map's output."""
        if _pays(x, self.weight, self.bias):
            return product(x, self.weight.T, self.bias)
        return cast(Tensor, super().forward(x))  # type: ignore[no-untyped-call]


FAST: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: OneDnnLinear, Conv1D: OneDnnConv1D}


def _pays(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a product is large enough, in float32 on a CPU, and with frozen weights."""
    rows = inputs.numel() // inputs.shape[-1]
    return (
        rows * weight.numel() >= WORTH
        and inputs.dtype == weight.dtype == torch.float32
        and inputs.device.type == weight.device.type == "cpu"
        and not weight.requires_grad
        and (bias is None or not bias.requires_grad)
    )


def product(
    inputs: Float[Tensor, "*row d_in"],
    weight: Float[Tensor, "d_out d_in"],
    bias: Float[Tensor, " d_out"] | None,
) -> Float[Tensor, "*row d_out"]:
    """X Wᵀ + b, differentiable in x alone."""
    if torch.is_grad_enabled() and inputs.requires_grad:
        return cast(Tensor, _Product.apply(inputs, weight, bias))  # type: ignore[no-untyped-call]
    return _by_onednn(_operation(), inputs, weight, bias)


def _by_onednn(operation: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return cast(Tensor, operation(inputs, weight, bias, "none", [], ""))


class _Product(torch.autograd.Function):
    """The product and its gradient, which is one as well."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _by_onednn(_operation(), inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return product(gradients[0], weight.T, None), None, None
