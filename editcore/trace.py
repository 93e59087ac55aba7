"""Reading activations, adding to them, and ending a forward pass where nothing more is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class Recorded:
    """What passed through a module in the last forward pass: `[batch, positions, width]` each."""

    input: torch.Tensor | None = None
    output: torch.Tensor | None = None


class _Stopped(Exception):
    """Ends a forward pass early; never leaves `recording`."""


@contextmanager
def recording(module: nn.Module, *, stop: bool = False) -> Iterator[Recorded]:
    """Record the input and output of `module`; with `stop`, end the forward pass right behind it.

    The forward pass that is to be ended early must be the last statement of the `with` block.
    """
    recorded = Recorded()

    def keep(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        recorded.input = inputs[0] if inputs else named["hidden_states"]
        recorded.output = output
        if stop:
            raise _Stopped

    handle = module.register_forward_hook(keep, with_kwargs=True)
    try:
        yield recorded
    except _Stopped:
        pass
    finally:
        handle.remove()


@contextmanager
def adding(module: nn.Module, positions: torch.Tensor, delta: torch.Tensor) -> Iterator[None]:
    """Add `delta[row]` to the output of `module` at `positions[row]` of every row.

    `positions` is `[batch]`, `delta` `[batch, width]`; gradients flow into `delta`.
    """

    def add(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(output.shape[0], device=output.device)
        return output.index_put((rows, positions), delta.to(output.dtype), accumulate=True)

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def starting_at(blocks: nn.ModuleList, layer: int, hidden: torch.Tensor) -> Iterator[None]:
    """Let forward passes begin at block `layer` with `hidden`; the blocks below it do not run.

    Works for every family, since it only replaces the `forward` of the blocks below by one that
    hands its input on, and the input of block `layer`, `[batch, positions, d_model]`, by `hidden`.
    """

    def hand_on(states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return states

    def replace(_: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if inputs:
            return (hidden, *inputs[1:]), kwargs
        return inputs, {**kwargs, "hidden_states": hidden}

    below = [blocks[i] for i in range(layer)]
    handle = blocks[layer].register_forward_pre_hook(replace, with_kwargs=True)
    try:
        for block in below:
            block.__dict__["forward"] = hand_on
        yield
    finally:
        handle.remove()
        for block in below:
            block.__dict__.pop("forward", None)
