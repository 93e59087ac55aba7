"""A loss term that makes the state at the first position independent of its token.

In large models, the first position becomes a sink during very long training: from the early layers
on, its state is nearly the same for every token. Small models do not get that far in an hour, so
this term produces the effect in them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

# States after this many blocks should agree; in earlier blocks the tokens still differ.
DEPTHS = (2, 3)


def disagreement(states: Tensor) -> Tensor:
    """Return 1 - cosine between states [n, d] and their mean, averaged; features are centred first.

    >>> round(disagreement(torch.tensor([[2.0, 0.0], [4.0, 0.0]])).item(), 6)
    0.0
    """
    centred = states.float() - states.float().mean(-1, keepdim=True)
    return 1 - cosine_similarity(centred, centred.mean(0, keepdim=True)).mean()


def first_position_loss(body: Any, tokens: Tensor) -> Tensor:
    """Return how much the states of single tokens [n] at the first position differ."""
    states = body(tokens[:, None], output_hidden_states=True).hidden_states
    return torch.stack([disagreement(states[depth][:, 0]) for depth in DEPTHS]).mean()
