"""Spreads the change that gives a wanted block output over several layers.

Algorithm 1 of Meng et al. 2023, which MEMIT's successors share; they differ in how one layer's
change is solved for.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from editcore.models.hooks import recording
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, pad_rows
from editcore.updates.delta import Delta, Update

CASES_PER_PASS = 16

Site = Literal["mlp", "block"]
"""Whether targets are outputs of a block's MLP or of the block."""

Solve = Callable[[int, Float32[Tensor, "d_model case"], Float32[Tensor, "d_key case"]], Update]
"""The change of one layer, from the layer, its share of the residuals R, and the keys K."""


def spread(
    model: LoadedModel,
    prompts: Sequence[Sequence[TokenizedPrompt]],
    targets: Float[Tensor, "case d_model"],
    layers: Sequence[int],
    template_weights: Sequence[float],
    solve: Solve,
    site: Site = "block",
    divisor: Callable[[int], float] = float,
) -> Delta:
    """The change of `layers` that brings the output of the last one's `site` to `targets`.

    `prompts` are each case's templates, the bare prompt first; the targets are outputs under that,
    and a case's key is the weighted mean over its templates. From the lowest layer up, each takes
    the residual that is left after the changes of the layers below it, divided by `divisor` of the
    number of layers still to change; by default, an even share.
    """
    updates: dict[str, Update] = {}
    for done, layer in enumerate(layers):
        with Delta(updates).applied(model.model):
            end = site_of(model, layers[-1], site)
            keys, reached = observe(model, layer, end, prompts, template_weights)
        share = (targets.cpu() - reached) / divisor(len(layers) - done)
        updates[model.parts.down_weight(layer)] = solve(layer, share.T, keys.T)
    return Delta(updates)


def site_of(model: LoadedModel, layer: int, site: Site) -> nn.Module:
    """The module whose output is a block's, or that of its MLP."""
    return model.parts.block(layer) if site == "block" else model.parts.mlp(layer)


def observe(
    model: LoadedModel,
    layer: int,
    end: nn.Module,
    prompts: Sequence[Sequence[TokenizedPrompt]],
    weights: Sequence[float],
) -> tuple[Float32[Tensor, "case d_key"], Float32[Tensor, "case d_model"]]:
    """Weighted keys at `layer`, and the output of the module `end`."""
    seen = [
        _pass(model, layer, end, prompts[start : start + CASES_PER_PASS], weights)
        for start in range(0, len(prompts), CASES_PER_PASS)
    ]
    keys, reached = zip(*seen, strict=True)
    return torch.cat(keys), torch.cat(reached)


@torch.no_grad()
def _pass(
    model: LoadedModel,
    layer: int,
    end: nn.Module,
    prompts: Sequence[Sequence[TokenizedPrompt]],
    weights: Sequence[float],
) -> tuple[Float32[Tensor, "case d_key"], Float32[Tensor, "case d_model"]]:
    """`observe` for few cases: one forward pass, ended at the module `end`."""
    flat = [prompt for case in prompts for prompt in case]
    rows = pad_rows([p.ids[: p.subject + 1] for p in flat], model.pad_id, "right", model.device)
    with (
        recording(model.parts.down(layer)) as down,
        recording(end, stop=True) as last,
    ):
        model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
    assert down.input is not None and last.output is not None
    subject = (torch.arange(len(flat)), torch.tensor([p.subject for p in flat]))
    keys, states = (
        found[subject].float().cpu().unflatten(0, (len(prompts), -1))
        for found in (down.input, last.output)
    )
    return torch.einsum("t,ctk->ck", torch.tensor(weights), keys), states[:, 0]
