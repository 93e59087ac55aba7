"""Contexts re-read after every edit, resuming after the last block that the edit leaves unchanged.

Up to that block, a context's states and KV cache are the same for all edits there. They are kept,
as far as memory allows. Contexts are padded on the left, so that whatever follows them begins in
the same column.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache

from editcore.models import hooks
from editcore.models.batch_size import budget
from editcore.models.kv_cache import KeysValues, cache, held, read_after, shape_only
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows, pad_rows

Tokens = tuple[int, ...]
Run = Callable[[DynamicCache], Float[Tensor, "row position d_model"]]
"""Reads rows after those in a cache, which they are added to; returns their last hidden states."""


@dataclass
class Room:
    """The number of bytes that may still be kept between edits."""

    left: int

    @classmethod
    def on(cls, model: LoadedModel) -> "Room":
        """Twice the memory budget of a batch."""
        return cls(2 * budget(model.device))

    def takes(self, size: int) -> bool:
        """Whether this number of bytes fits; if so, it is reserved."""
        if size > self.left:
            return False
        self.left -= size
        return True


@dataclass(frozen=True)
class Begun:
    """A block's states for some rows, and the KV cache up to that block."""

    states: Float[Tensor, "row position d_model"]
    past: KeysValues


@dataclass
class Resumable:
    """Rows of tokens that are read after every edit; the blocks before the edited one run once.

    `with_past` keeps their KV cache too, for rows that others follow.
    """

    model: LoadedModel
    padded: PaddedRows
    room: Room
    with_past: bool = False
    _begun: dict[int, Begun | None] = field(default_factory=dict)

    def read(
        self, start: int, run: Run, past: KeysValues
    ) -> tuple[Float[Tensor, "row position d_model"], KeysValues]:
        """The states that `run` returns after the KV cache `past`, and the cache of past and rows.

        Blocks up to `start` are unedited; -1 for none. If they did not run again, their part of the
        cache is returned only with `with_past`.
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
        """The bytes of a block's states, and of keys and values up to it, as wide as states."""
        vectors = 2 * (start + 1) + 1 if self.with_past else 1
        width = int(self.model.model.config.hidden_size)
        return self.padded.ids.numel() * vectors * width * self.model.model.dtype.itemsize


def _without(past: KeysValues, layer: int) -> KeysValues:
    """A KV cache without that of blocks up to `layer`, which will not run; lengths remain."""
    return [shape_only(*kv) if i <= layer else kv for i, kv in enumerate(past)]


@dataclass(frozen=True)
class Read:
    """A batch of contexts after reading: the states of their last tokens, and the KV cache."""

    last: Float[Tensor, "row d_model"]
    mask: Int[Tensor, "row position"]
    lengths: Int[Tensor, " row"]
    past: KeysValues

    def rows(self, index: Int[Tensor, " chosen"]) -> "Read":
        """Those of chosen rows, without columns of padding alone; one may be chosen twice."""
        mask = self.mask[index]
        first = int(mask.any(0).int().argmax())
        past = [(keys[index, :, first:], values[index, :, first:]) for keys, values in self.past]
        return Read(self.last[index], mask[:, first:], self.lengths[index], past)

    @classmethod
    def joined(cls, reads: Sequence["Read"]) -> "Read":
        """The rows of several batches as one, padded on the left to the longest."""
        width = max(read.mask.shape[1] for read in reads)
        missing = [width - read.mask.shape[1] for read in reads]
        return cls(
            torch.cat([read.last for read in reads]),
            torch.cat([pad(r.mask, (n, 0)) for r, n in zip(reads, missing, strict=True)]),
            torch.cat([read.lengths for read in reads]),
            [
                (_joined([k for k, _ in block], missing), _joined([v for _, v in block], missing))
                for block in zip(*(read.past for read in reads), strict=True)
            ],
        )


def _joined(
    heads: Sequence[Float[Tensor, "_row head _position d_head"]], missing: Sequence[int]
) -> Float[Tensor, "_row head _position d_head"]:
    """Keys or values of several batches, each with its number of missing positions added."""
    return torch.cat([pad(h, (0, 0, n, 0)) for h, n in zip(heads, missing, strict=True)])


@dataclass(frozen=True)
class Contexts:
    """A batch of contexts, padded on the left."""

    rows: Resumable

    @classmethod
    def of(cls, model: LoadedModel, contexts: Sequence[Tokens], room: Room) -> "Contexts":
        """Pad contexts into one batch."""
        padded = pad_rows(contexts, model.pad_id, "left", model.device)
        return cls(Resumable(model, padded, room, with_past=True))

    def read(self, start: int) -> Read:
        """Read the contexts with the model, whose blocks up to `start` are unedited."""
        model, padded = self.rows.model, self.rows.padded

        def run(known: DynamicCache) -> Tensor:
            return read_after(model.model, padded.ids, padded.mask, padded.positions, known)

        states, past = self.rows.read(start, run, [])
        return Read(states[:, -1], padded.mask, padded.mask.sum(1), past)
