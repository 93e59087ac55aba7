"""The gradient of an edit's loss as rank-one factors, many edits in one backward pass.

For a linear map y = W u, the gradient of a loss with respect to W is Σ δ uᵀ over tokens, with δ the
gradient at the map's output (Mitchell et al. 2022, §3.1). Both are recorded at the map, row by row,
so that edits that share a pass keep their own factors, and no gradient of a weight is ever formed.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from editcore.editing.target_rows import ScoredRows
from editcore.models.loading import LoadedModel


@dataclass(frozen=True)
class TokenFactors:
    """u `[rows, length, d_in]` and δ `[rows, length, d_out]` of one linear map; float32 or better.

    `counts` `[rows, length]` marks tokens that the loss depends on; elsewhere δ is zero.
    """

    inputs: Float[Tensor, "row position d_in"]
    deltas: Float[Tensor, "row position d_out"]
    counts: Bool[Tensor, "row position"]


@dataclass
class _Probe:
    inputs: Tensor
    added: Tensor


@contextmanager
def _probing(module: nn.Module) -> Iterator[list[_Probe]]:
    """Record a map's input, and add zeros to its output, the gradient of which is δ."""
    seen: list[_Probe] = []

    def probe(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        added = torch.zeros_like(output).requires_grad_()
        seen.append(_Probe(inputs[0].detach(), added))
        return output + added

    with module.register_forward_hook(probe):
        yield seen


def token_factors(
    model: LoadedModel, maps: Sequence[nn.Module], scored: ScoredRows
) -> tuple[list[TokenFactors], Float[Tensor, " row"]]:
    """The factors at each linear map of every row's own loss, and the losses `[rows]`, in nats.

    Only the maps and what is after them is differentiated, since no tensor before them requires a
    gradient.
    """
    with torch.enable_grad(), model.arithmetic(), ExitStack() as stack:
        seen = [stack.enter_context(_probing(module)) for module in maps]
        hidden = model.model.base_model(
            input_ids=scored.rows.ids, attention_mask=scored.rows.mask, use_cache=False
        ).last_hidden_state
        losses = scored.loss(model, hidden)
        probes = [probe for (probe,) in seen]
        gradients = torch.autograd.grad(losses.sum(), [probe.added for probe in probes])
    size = scored.rows.ids.shape  # a flat block makes one long row of all rows
    return [
        _factors(probe.inputs.reshape(*size, -1), gradient.reshape(*size, -1))
        for probe, gradient in zip(probes, gradients, strict=True)
    ], losses.detach()


def _factors(inputs: Tensor, deltas: Tensor) -> TokenFactors:
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    return TokenFactors(inputs.to(dtype), deltas.to(dtype), (deltas != 0).any(-1))
