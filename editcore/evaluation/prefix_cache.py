"""Contexts that a model reads again after every edit, begun after what the edit leaves alone.

What a model makes of a context up to the last block before the edited one is the same for all edits
there. It is kept, as far as memory allows. Rows are padded on the left, so that whatever follows
them is in the same columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from editcore.models import hooks
from editcore.models.batch_size import budget
from editcore.models.kv_cache import KeysValues, cache, held, read_after, shape_only
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows, pad_rows

Tokens = tuple[int, ...]
Run = Callable[[DynamicCache], Float[Tensor, "row position d_model"]]
"""Reads rows after what a cache holds, which grows, and gives their last states."""


@dataclass
class Room:
    """Bytes that may still be kept between edits."""

    left: int

    @classmethod
    def on(cls, model: LoadedModel) -> "Room":
        """As much as two batches may take."""
        return cls(2 * budget(model.device))

    def takes(self, size: int) -> bool:
        """Whether this many bytes fit; if so, they are taken."""
        if size > self.left:
            return False
        self.left -= size
        return True


@dataclass(frozen=True)
class Begun:
    """Rows after a block: its states, and attention up to that block."""

    states: Float[Tensor, "row position d_model"]
    past: KeysValues


@dataclass
class Resumable:
    """Rows of tokens that are read after every edit; the blocks before the edited one run once.

    `with_past` keeps their attention too, for rows that others follow.
    """

    model: LoadedModel
    padded: PaddedRows
    room: Room
    with_past: bool = False
    _begun: dict[int, Begun | None] = field(default_factory=dict)

    def read(
        self, start: int, run: Run, past: KeysValues
    ) -> tuple[Float[Tensor, "row position d_model"], KeysValues]:
        """The states that `run` gives after `past`, and the attention of past and rows.

        Blocks up to `start` are unedited; -1 for none. Where they did not run again, attention
        of theirs is given only with `with_past`.
        """
        begun = self._begun_after(start, run, past)
        if begun is None:
            known = cache(past)
            return run(known), held(known)
        known = cache(_without(past, start))
        with hooks.resuming_after(self.model.parts, start, begun.states):
            states = run(known)
        return states, [*begun.past, *held(known)[len(past) and start + 1 :]]

    def _begun_after(self, start: int, run: Run, past: KeysValues) -> Begun | None:
        if start not in self._begun:
            fits = start >= 0 and self.room.takes(self._size(start))
            self._begun[start] = self._begin(start, run, past) if fits else None
        return self._begun[start]

    def _begin(self, start: int, run: Run, past: KeysValues) -> Begun:
        known = cache(past)
        with hooks.recording(self.model.parts.block(start), stop=True) as seen:
            run(known)
        assert seen.output is not None
        return Begun(seen.output, held(known)[: start + 1] if self.with_past else [])

    def _size(self, start: int) -> int:
        """The bytes of states, and of keys and values up to a block, each as wide as a state."""
        vectors = 2 * (start + 1) + 1 if self.with_past else 1
        width = int(self.model.model.config.hidden_size)
        return self.padded.ids.numel() * vectors * width * self.model.model.dtype.itemsize


def _without(past: KeysValues, layer: int) -> KeysValues:
    """Attention without that of blocks up to `layer`, which will not run; lengths remain."""
    return [shape_only(*kv) if i <= layer else kv for i, kv in enumerate(past)]


@dataclass(frozen=True)
class Read:
    """What a model has after a batch of contexts: states of the last token, and its attention."""

    last: Float[Tensor, "row d_model"]
    mask: Int[Tensor, "row position"]
    lengths: Int[Tensor, " row"]
    past: KeysValues

    def rows(self, index: Int[Tensor, " chosen"]) -> "Read":
        """The same for chosen rows; one may be chosen several times."""
        past = [(keys[index], values[index]) for keys, values in self.past]
        return Read(self.last[index], self.mask[index], self.lengths[index], past)


@dataclass(frozen=True)
class Contexts:
    """A batch of contexts, padded on the left."""

    rows: Resumable

    @classmethod
    def of(cls, model: LoadedModel, contexts: Sequence[Tokens], room: Room) -> "Contexts":
        """Lay contexts out."""
        padded = pad_rows(contexts, model.pad_id, "left", model.device)
        return cls(Resumable(model, padded, room, with_past=True))

    def read(self, start: int) -> Read:
        """What the model as it is has after the contexts; blocks up to `start` are unedited."""
        model, padded = self.rows.model, self.rows.padded

        def run(known: DynamicCache) -> Tensor:
            return read_after(model.model, padded.ids, padded.mask, padded.positions, known)

        states, past = self.rows.read(start, run, [])
        return Read(states[:, -1], padded.mask, padded.mask.sum(1), past)
