"""Reading activations, adding to them, and ending a forward pass where nothing more is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from editcore.models.architectures import ModelParts


@dataclass
class Recorded:
    """What passed through a module in the last forward pass."""

    input: Float[Tensor, "row position d_in"] | None = None
    output: Float[Tensor, "row position d_out"] | None = None


class _Stopped(Exception):
    """Ends a forward pass early; never leaves `recording`."""


@contextmanager
def recording(module: nn.Module, *, stop: bool = False) -> Iterator[Recorded]:
    """Record the input and output of `module`; with `stop`, end the forward pass right after it.

    The forward pass that is to be ended early must be the last statement of the `with` block.
    """
    recorded = Recorded()

    def keep(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        recorded.input = inputs[0] if inputs else named["hidden_states"]
        recorded.output = output[0] if isinstance(output, tuple) else output
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
def adding(
    module: nn.Module, positions: Int[Tensor, " row"], delta: Float[Tensor, "row d_out"]
) -> Iterator[None]:
    """Add `delta[row]` to the output of `module` at `positions[row]` of every row.

    Gradients flow into `delta`.
    """

    def add(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        rows = torch.arange(output.shape[0], device=output.device)
        return output.index_put((rows, positions), delta.to(output.dtype), accumulate=True)

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def only_at(
    module: nn.Module, rows: Int[Tensor, " place"], columns: Int[Tensor, " place"]
) -> Iterator[None]:
    """Let a module that treats each position alone run at some places; elsewhere it gives 0.

    No place occurs twice.
    """
    whole = module.forward

    def forward(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        output: Tensor = whole(hidden[rows, columns][None])
        nothing = output.new_zeros(*hidden.shape[:2], output.shape[-1])
        return nothing.index_put((rows, columns), output[0])

    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        module.__dict__.pop("forward", None)


@contextmanager
def resuming_after(
    parts: ModelParts, layer: int, states: Float[Tensor, "row position d_model"]
) -> Iterator[None]:
    """Let forward passes resume after block `layer`, whose output is `states`.

    Works for every family, since it only replaces the `forward` of that block and of those below
    it, which do not run.
    """
    given = (states, None) if parts.family.block_gives_tuple else states

    def resume(*_: Any, **__: Any) -> Any:
        return given

    replaced = [parts.block(i) for i in range(layer + 1)]
    try:
        for block in replaced:
            block.__dict__["forward"] = resume
        yield
    finally:
        for block in replaced:
            block.__dict__.pop("forward", None)
