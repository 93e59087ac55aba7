"""Makes a model recall facts in later blocks: in training, early blocks often see little context.

Otherwise, a small Llama recalls what it knows about a subject in its second block, before any block
that could be edited. If, in most steps, the early blocks attend only to the current token and the
one before it, the later blocks learn to recall facts as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

REACH = 1


def near_mask(width: int) -> Tensor:
    """Return the additive mask [1, 1, width, width] for a token and `REACH` tokens before it.

    >>> (near_mask(3)[0, 0] == 0).int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    distance = torch.arange(width)[:, None] - torch.arange(width)[None]
    hidden = (distance < 0) | (distance > REACH)
    return torch.zeros(1, 1, width, width).masked_fill(hidden, torch.finfo(torch.float32).min)


def _narrow(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    states = args[0] if args else kwargs["hidden_states"]
    return args, {**kwargs, "attention_mask": near_mask(states.shape[1])}


@contextmanager
def nearsighted(attentions: list[Any]) -> Iterator[None]:
    """A block in which the given attentions see only the nearest tokens."""
    handles = [a.register_forward_pre_hook(_narrow, with_kwargs=True) for a in attentions]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
