"""Many edited models in one forward pass: every row of a batch has its own weight change.

A change ΔW of a linear map adds ΔW x to its output, so the weights stay as they are, and rows of
one batch can belong to different edits. What an edit cannot alter is not run again: a pass starts
from activations of the unedited model at the first edited block.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from editcore.models import hooks
from editcore.models.batch_size import budget
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows
from editcore.updates.change import Change
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, Update


@dataclass(frozen=True)
class StartPoint:
    """Where edited models begin to differ: after block `layer`, or before all blocks if it is -1.

    With `at_down`, that block's down-projection is changed, and nothing else in it. Its change ΔW
    then adds ΔW k to the block's output, so the keys k are recorded too.
    """

    layer: int
    at_down: bool = False


@dataclass
class Activations:
    """The unedited model's states after a start's block, and its keys if needed."""

    states: Float[Tensor, "row position d_model"] | None = None
    keys: Float[Tensor, "row position d_key"] | None = None

    def rows(self, index: Int[Tensor, " chosen"]) -> "Activations":
        """Those of chosen rows."""
        chosen = (None if t is None else t[index] for t in (self.states, self.keys))
        return Activations(*chosen)

    @classmethod
    def joined(cls, parts: Sequence["Activations"]) -> "Activations":
        """All rows of several, which have one length."""
        if len(parts) == 1:
            return parts[0]
        columns = ([each.states for each in parts], [each.keys for each in parts])
        present = ([t for t in column if t is not None] for column in columns)
        return cls(*(torch.cat(column) if column else None for column in present))


@contextmanager
def recording_activations(
    model: LoadedModel, start: StartPoint, *, stop: bool = False
) -> Iterator[Activations]:
    """Record what edited models start from; with `stop`, end the forward pass right after it.

    The forward pass must be the last statement of the `with` block; it is not needed if edits begin
    before the first block.
    """
    found, parts = Activations(), model.parts
    if start.layer < 0:
        yield found
        return
    with (
        hooks.recording(parts.down(start.layer)) as down,
        hooks.recording(parts.block(start.layer), stop=stop) as block,
    ):
        yield found
    found.states = block.output
    found.keys = down.input if start.at_down else None


class EditedModels(ABC):
    """One or more edited models, read by `reader`; `members` are the indices of their changes."""

    reader: LoadedModel
    members: Sequence[int]
    start: StartPoint
    keeps_head: ClassVar[bool] = False
    """Whether the head is the unedited model's for certain."""

    @abstractmethod
    def in_place(self) -> AbstractContextManager[None]:
        """A block in which `hidden`, and the reader's head, are the edited models'."""

    @abstractmethod
    def hidden(
        self, rows: PaddedRows, before: Activations, edit: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position d_last"]:
        """Last hidden states; row i is read by the edited model `members[edit[i]]`.

        `before` are the unedited model's activations at `start`.
        """


def edited_models(model: LoadedModel, changes: Sequence[Change]) -> list[EditedModels]:
    """Group edits that can share a forward pass; each of the others is a group of its own."""
    found: list[EditedModels] = []
    together: dict[tuple[tuple[str, type[Update]], ...], dict[int, Delta]] = {}
    for i, change in enumerate(changes):
        if isinstance(change, Delta) and _can_overlay(model, change):
            kinds = tuple((name, type(update)) for name, update in change.updates.items())
            together.setdefault(kinds, {})[i] = change
        else:
            found.append(Applied.of(model, change, i))
    for alike in together.values():
        found += [Overlay.of(model, members) for members in _fitting(model, alike)]
    return found


def _can_overlay(model: LoadedModel, delta: Delta) -> bool:
    blocks = f"{model.anatomy.blocks}."
    return bool(delta.updates) and all(
        name.startswith(blocks) and _of_linear_map(model, name) for name in delta.updates
    )


def _of_linear_map(model: LoadedModel, parameter: str) -> bool:
    """Whether a parameter is the weight or the bias of a linear map."""
    path, _, part = parameter.rpartition(".")
    module = model.model.get_submodule(path)
    return part in ("weight", "bias") and isinstance(module, nn.Linear | Conv1D)


def _fitting(model: LoadedModel, alike: Mapping[int, Delta]) -> Iterator[Mapping[int, Delta]]:
    """Changes of the same parameters, as many as fit an eighth of the memory budget."""
    largest = max(sum(map(_bytes, delta.updates.values())) for delta in alike.values())
    places = list(alike)
    step = max(1, budget(model.device) // 8 // max(1, largest))
    for first in range(0, len(places), step):
        yield {place: alike[place] for place in places[first : first + step]}


def _bytes(update: Update) -> int:
    """The size of an update in float32, in bytes."""
    return sum(4 * tensor.numel() for tensor in vars(update).values())


def run_from(
    model: LoadedModel,
    rows: PaddedRows,
    start: StartPoint,
    states: Float[Tensor, "row position d_model"] | None,
) -> Float[Tensor, "row position d_last"]:
    """The last hidden states of a pass that begins with `states` after `start`, if given."""
    with model.arithmetic(), ExitStack() as stack:
        if states is not None:
            stack.enter_context(hooks.resuming_after(model.parts, start.layer, states))
        hidden: Tensor = model.model.base_model(
            input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
        ).last_hidden_state
    return hidden


@dataclass(frozen=True)
class Applied(EditedModels):
    """One edited model whose change is applied to the model while it reads."""

    reader: LoadedModel
    members: Sequence[int]
    start: StartPoint
    model: LoadedModel
    change: Change

    @classmethod
    def of(cls, model: LoadedModel, change: Change, place: int) -> "Applied":
        """One that begins before the first block whose output the edit can alter."""
        start = StartPoint(change.first_block(model.parts) - 1)
        return cls(model.frozen, (place,), start, model, change)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """See `EditedModels.in_place`."""
        if not isinstance(self.change, Delta):
            with self.change.applied(self.reader.model):
                yield
            return
        try:
            with self.change.applied(self.model.model):
                self.model.follow(self.change.updates)
                yield
        finally:
            self.model.follow(self.change.updates)

    def hidden(
        self, rows: PaddedRows, before: Activations, edit: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position d_last"]:
        """See `EditedModels.hidden`."""
        return run_from(self.reader, rows, self.start, before.states)


class Added(ABC):
    """What several edits' changes of one parameter add to the output of its linear map."""

    @abstractmethod
    def added(
        self, inputs: Float[Tensor, "row position d_in"], edit: Int[Tensor, " row"]
    ) -> Float[Tensor, " row #position d_out"]:
        """What is added for some inputs; row i is of the edit `edit[i]`."""


@dataclass(frozen=True)
class BatchedFactors(Added):
    """Low-rank changes of a weight; lower ranks are padded with zeros."""

    outputs: Float[Tensor, "edit d_out rank"]
    inputs: Float[Tensor, "edit d_in rank"]

    @classmethod
    def of(cls, updates: Sequence[LowRankUpdate], device: torch.device) -> "BatchedFactors":
        """Stack the factors of several edits."""
        stacked = (
            nn.utils.rnn.pad_sequence([factor.T.float() for factor in factors], batch_first=True)
            for factors in ([u.outputs for u in updates], [u.inputs for u in updates])
        )
        return cls(*(each.transpose(1, 2).to(device) for each in stacked))

    def added(
        self, inputs: Float[Tensor, "row position d_in"], edit: Int[Tensor, " row"]
    ) -> Float[Tensor, " row #position d_out"]:
        """See `Added.added`."""
        seen = torch.bmm(inputs.to(self.inputs.dtype), self.inputs[edit])
        return torch.bmm(seen, self.outputs[edit].transpose(1, 2))


@dataclass(frozen=True)
class Matrices(Added):
    """Dense changes of a weight."""

    changes: Float32[Tensor, "edit d_out d_in"]

    def added(
        self, inputs: Float[Tensor, "row position d_in"], edit: Int[Tensor, " row"]
    ) -> Float[Tensor, " row #position d_out"]:
        """See `Added.added`; edit by edit, since a matrix for every row would be large."""
        size = (*inputs.shape[:-1], self.changes.shape[1])
        found = torch.empty(size, dtype=self.changes.dtype, device=inputs.device)
        for one in edit.unique().tolist():
            rows = (edit == one).nonzero()[:, 0]
            found[rows] = inputs[rows].to(found.dtype) @ self.changes[one].T
        return found


@dataclass(frozen=True)
class Biases(Added):
    """Changes of a bias."""

    changes: Float32[Tensor, "edit d_out"]

    def added(
        self, inputs: Float[Tensor, "row position d_in"], edit: Int[Tensor, " row"]
    ) -> Float[Tensor, " row #position d_out"]:
        """See `Added.added`."""
        return self.changes[edit][:, None]


def _added(name: str, updates: Sequence[Update], device: torch.device) -> Added:
    """What updates of one parameter, all of one kind, add."""
    low = [update for update in updates if isinstance(update, LowRankUpdate)]
    if low:
        return BatchedFactors.of(low, device)
    kind = Biases if name.endswith(".bias") else Matrices
    dense = [update.change for update in updates if isinstance(update, DenseUpdate)]
    return kind(torch.stack(dense).float().to(device))


@dataclass(frozen=True)
class Overlay(EditedModels):
    """Edited models that share each pass: changes of the same linear maps, by parameter."""

    reader: LoadedModel
    members: Sequence[int]
    start: StartPoint
    changes: Mapping[str, Added]
    keeps_head: ClassVar[bool] = True

    @classmethod
    def of(cls, model: LoadedModel, members: Mapping[int, Delta]) -> "Overlay":
        """Overlay changes of the same linear maps, which are keyed by their indices."""
        parts, deltas = model.parts, list(members.values())
        places, first = deltas[0].places(parts), deltas[0].first_block(parts)
        down = parts.down_weight(first).removesuffix("weight")
        at_down = model.anatomy.joins and all(
            name in (f"{down}weight", f"{down}bias")
            for name, block in places.items()
            if block == first
        )
        changes = {
            name: _added(name, [delta.updates[name] for delta in deltas], model.device)
            for name in places
        }
        start = StartPoint(first if at_down else first - 1, at_down)
        return cls(model.frozen, tuple(members), start, changes)

    def in_place(self) -> AbstractContextManager[None]:
        """See `EditedModels.in_place`."""
        return nullcontext()

    def hidden(
        self, rows: PaddedRows, before: Activations, edit: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position d_last"]:
        """See `EditedModels.hidden`."""
        states, later = before.states, dict(self.changes)
        if self.start.at_down:
            assert states is not None and before.keys is not None
            down = self.reader.parts.down_weight(self.start.layer).removesuffix("weight")
            for name in (f"{down}weight", f"{down}bias"):
                if own := later.pop(name, None):
                    states = (states.float() + own.added(before.keys, edit)).to(states.dtype)
        with self._adding(later, edit):
            return run_from(self.reader, rows, self.start, states)

    def laid_over(self, edit: Int[Tensor, " row"]) -> AbstractContextManager[None]:
        """A block in which row i of each whole pass is read by the model `members[edit[i]]`."""
        return self._adding(self.changes, edit)

    @contextmanager
    def _adding(self, changes: Mapping[str, Added], edit: Tensor) -> Iterator[None]:
        with ExitStack() as stack:
            for name, each in changes.items():
                module = self.reader.model.get_submodule(name.rpartition(".")[0])
                stack.enter_context(overlaying(module, each, edit))
            yield


@contextmanager
def overlaying(module: nn.Module, changes: Added, edit: Int[Tensor, " row"]) -> Iterator[None]:
    """Let a linear map's output be, row by row, that of the edited maps."""

    def add(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        given = hooks.by_row(module, output)
        more = given + changes.added(hooks.by_row(module, inputs[0]), edit).to(output.dtype)
        return more.reshape(output.shape)

    with module.register_forward_hook(add):
        yield
