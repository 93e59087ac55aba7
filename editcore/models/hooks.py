"""Hooks that read activations, add to them, and end a forward pass early or start it late."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from editcore.models.architectures import ROWS, ModelParts

# Number of dimensions of the MLP's input in a flat block.
FLAT = 2


@dataclass
class Recorded:
    """What passed through a module in the last forward pass."""

    input: Float[Tensor, "row position d_in"] | None = None
    output: Float[Tensor, "row position d_out"] | None = None


class _Stopped(Exception):
    """Ends a forward pass early; never leaves `recording` or `recording_input`."""


@contextmanager
def recording(module: nn.Module, *, stop: bool = False) -> Iterator[Recorded]:
    """Record the input and output of `module`; with `stop`, end the forward pass right after it.

    The forward pass that is to be ended early must be the last statement of the `with` block.
    """
    recorded = Recorded()

    def keep(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        given = inputs[0] if inputs else named["hidden_states"]
        recorded.input = by_row(module, given)
        found = by_row(module, output[0] if isinstance(output, tuple | list) else output)
        recorded.output = found if stop else found.clone()  # a block may add to it in place
        if stop:
            raise _Stopped

    try:
        with module.register_forward_hook(keep, with_kwargs=True):
            yield recorded
    except _Stopped:
        pass


@contextmanager
def recording_input(module: nn.Module, *, stop: bool = False) -> Iterator[Recorded]:
    """Record the input of `module`; with `stop`, end the forward pass before the module runs.

    As with `recording`, that pass must be the last statement of the `with` block.
    """
    recorded = Recorded()

    def keep(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        recorded.input = by_row(module, inputs[0] if inputs else named["hidden_states"])
        if stop:
            raise _Stopped

    try:
        with module.register_forward_pre_hook(keep, with_kwargs=True):
            yield recorded
    except _Stopped:
        pass


@contextmanager
def adding(
    module: nn.Module, positions: Int[Tensor, " row"], delta: Float[Tensor, "row d_out"]
) -> Iterator[None]:
    """Add `delta[row]` to the output of `module` at `positions[row]` of every row.

    Gradients flow into `delta`.
    """

    def add(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple | list):
            return type(output)((add(_, inputs, output[0]), *output[1:]))
        states = by_row(module, output)
        rows = torch.arange(states.shape[0], device=states.device)
        more = states.index_put((rows, positions), delta.to(states.dtype), accumulate=True)
        return more.reshape(output.shape)

    with module.register_forward_hook(add):
        yield


@contextmanager
def only_at(
    module: nn.Module, rows: Int[Tensor, " place"], columns: Int[Tensor, " place"]
) -> Iterator[None]:
    """Run a position-wise module at the given places alone; elsewhere its output is 0.

    The places must be distinct.
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
    parts: ModelParts, layer: int, states: Float[Tensor, "row position d_model"] | None
) -> Iterator[None]:
    """Let forward passes start after block `layer`, with `states` as its output.

    None runs all blocks. It works for every family, because it only replaces the `forward` of that
    block and of those before it, which do not run.
    """
    if states is None:
        yield
        return
    given = (states, None) if parts.anatomy.gives_tuple else states

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


def last_settled(parts: ModelParts, layer: int) -> int:
    """The last block that need not run again if something is added to `layer`'s down-projection.

    `layer` itself if blocks add their MLP's output unchanged (`Anatomy.joins`), otherwise the block
    before it; -1 if all must run.
    """
    return layer if parts.anatomy.joins else layer - 1


@contextmanager
def resuming_with(
    parts: ModelParts,
    layer: int,
    states: Float[Tensor, "row position d_model"] | None,
    added: Float[Tensor, "row position d_model"],
) -> Iterator[None]:
    """Let forward passes start late, with `added` added to the output of `layer`'s down-projection.

    `states` are those after block `last_settled(parts, layer)`, None if that is -1. Gradients flow
    into `added`.
    """
    if parts.anatomy.joins:
        assert states is not None
        with resuming_after(parts, layer, states + added):
            yield
    else:
        with (
            adding_everywhere(parts.down(layer), added),
            resuming_after(parts, layer - 1, states),
        ):
            yield


@contextmanager
def adding_everywhere(
    module: nn.Module, added: Float[Tensor, "row position d_out"]
) -> Iterator[None]:
    """Add `added` to the output of `module`; gradients flow into it."""
    with module.register_forward_hook(lambda _, __, out: out + added.reshape(out.shape)):
        yield


def by_row(
    module: nn.Module, tensor: Float[Tensor, "*place width"]
) -> Float[Tensor, "row position width"]:
    """A module's input or output by row and position, in a flat block too (`Anatomy.flat`)."""
    rows = module.__dict__.get(ROWS)
    return tensor if rows is None or tensor.ndim != FLAT else tensor.reshape(*rows, -1)
