"""A training term that lets the first position of a context lose the identity of its token.

In large models the first position becomes a sink by itself in the course of very long training:
from the early layers on its state is nearly the same whatever token stands there. Small models
do not get that far in an hour, so theirs are led there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

# States after this many blocks are to agree; earlier blocks still tell the tokens apart.
DEPTHS = (2, 3)


def disagreement(states: Tensor) -> Tensor:
    """Return 1 - cosine between states [n, d] and their mean, averaged; features are centred first.

    >>> round(disagreement(torch.tensor([[2.0, 0.0], [4.0, 0.0]])).item(), 6)
    0.0
    """
    centred = states.float() - states.float().mean(-1, keepdim=True)
    return 1 - cosine_similarity(centred, centred.mean(0, keepdim=True)).mean()


def first_position_loss(body: Any, tokens: Tensor) -> Tensor:
    """Return how much the states of single tokens [n] at the first position disagree."""
    states = body(tokens[:, None], output_hidden_states=True).hidden_states
    return torch.stack([disagreement(states[depth][:, 0]) for depth in DEPTHS]).mean()
