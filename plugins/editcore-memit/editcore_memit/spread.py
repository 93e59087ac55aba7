"""Spreads the change that gives a wanted block output over several layers (algorithm 1).

The algorithm is that of Meng et al. 2023.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from editcore.toolkit import (
    Delta,
    LoadedModel,
    SecondMoment,
    TokenizedPrompt,
    Update,
    pad_rows,
    recording,
    solve_least_squares,
)

CASES_PER_PASS = 16


@dataclass(frozen=True)
class Spreading:
    """The layers that share a change, C at each of them, its weight λ, and templates' weights."""

    layers: Sequence[int]
    moments: Mapping[int, SecondMoment]
    moment_weight: float
    template_weights: Sequence[float]


def spread(
    model: LoadedModel,
    prompts: Sequence[Sequence[TokenizedPrompt]],
    targets: torch.Tensor,
    how: Spreading,
) -> Delta:
    """The change that brings the output of the last layer's block to `targets [cases, d_model]`.

    `prompts` are each case's templates, the bare prompt first; the targets are outputs under that.
    From the lowest layer up, each takes an even share of the residual that is left after the
    changes of the layers below it.
    """
    updates: dict[str, Update] = {}
    for done, layer in enumerate(how.layers):
        with Delta(updates).applied(model.model):
            keys, reached = _observe(model, layer, prompts, how)
        share = (targets.cpu() - reached) / (len(how.layers) - done)
        updates[model.parts.down_weight(layer)] = solve_least_squares(
            share.T, keys.T, how.moments[layer], how.moment_weight
        )
    return Delta(updates)


def _observe(
    model: LoadedModel, layer: int, prompts: Sequence[Sequence[TokenizedPrompt]], how: Spreading
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted keys `[cases, d_key]` at `layer`, and the last layer's output `[cases, d_model]`."""
    seen = [
        _pass(model, layer, prompts[start : start + CASES_PER_PASS], how)
        for start in range(0, len(prompts), CASES_PER_PASS)
    ]
    keys, reached = zip(*seen, strict=True)
    return torch.cat(keys), torch.cat(reached)


@torch.no_grad()
def _pass(
    model: LoadedModel, layer: int, prompts: Sequence[Sequence[TokenizedPrompt]], how: Spreading
) -> tuple[torch.Tensor, torch.Tensor]:
    """`_observe` for few cases: one forward pass, ended at the last layer."""
    flat = [prompt for case in prompts for prompt in case]
    rows = pad_rows([p.ids[: p.subject + 1] for p in flat], model.pad_id, "right", model.device)
    with (
        recording(model.parts.down(layer)) as down,
        recording(model.parts.block(how.layers[-1]), stop=True) as last,
    ):
        model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
    assert down.input is not None and last.output is not None
    subject = (torch.arange(len(flat)), torch.tensor([p.subject for p in flat]))
    keys, states = (
        found[subject].float().cpu().unflatten(0, (len(prompts), -1))
        for found in (down.input, last.output)
    )
    weights = torch.tensor(how.template_weights)
    return torch.einsum("t,ctk->ck", weights, keys), states[:, 0]
