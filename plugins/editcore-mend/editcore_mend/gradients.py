"""The gradient of an edit's loss as rank-one factors, many edits in one backward pass.

For a linear map y = W u, the gradient of a loss with respect to W is Σ δ uᵀ over tokens, with δ the
gradient at the map's output (Mitchell et al. 2022, §3.1). Both are recorded at the map, row by row,
so that edits that share a pass keep their own factors, and no gradient of a weight is ever formed.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from editcore.toolkit import LoadedModel
from editcore_mend.rows import Line, Scored
from editcore_mend.sites import Site


@dataclass(frozen=True)
class TokenFactors:
    """u `[rows, length, d_in]` and δ `[rows, length, d_out]` of one linear map; float32 or better.

    `counts` `[rows, length]` marks tokens that the loss depends on; elsewhere δ is zero.
    """

    inputs: torch.Tensor
    deltas: torch.Tensor
    counts: torch.Tensor


@dataclass
class _Probe:
    inputs: torch.Tensor
    added: torch.Tensor


@contextmanager
def _probing(module: nn.Module) -> Iterator[list[_Probe]]:
    """Record a map's input, and add zeros to its output, the gradient of which is δ."""
    seen: list[_Probe] = []

    def probe(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        added = torch.zeros_like(output).requires_grad_()
        seen.append(_Probe(inputs[0].detach(), added))
        return output + added

    with module.register_forward_hook(probe):
        yield seen


def token_factors(
    model: LoadedModel, sites: Sequence[Site], lines: Sequence[Line]
) -> tuple[list[TokenFactors], torch.Tensor]:
    """The factors at each site of every line's own loss, and the losses `[lines]`, in nats.

    Only the edited maps and what is after them is differentiated, since no tensor before them
    requires a gradient.
    """
    scored = Scored.of(model, lines)
    with torch.enable_grad(), model.arithmetic(), ExitStack() as stack:
        seen = [stack.enter_context(_probing(site.module)) for site in sites]
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


def _factors(inputs: torch.Tensor, deltas: torch.Tensor) -> TokenFactors:
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    return TokenFactors(inputs.to(dtype), deltas.to(dtype), (deltas != 0).any(-1))
