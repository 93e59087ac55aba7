"""The low-rank updates of one parameter, one after another, in buffers that grow by doubling.

Thousands of small tensors that live as long as a sequence would lie between the large ones that
come and go, so that these could not be reused: a process would grow by megabytes with every edit.
"""

import torch
from torch import Tensor

from editcore.updates.delta import LowRankUpdate

PARTS = ("outputs", "inputs")


class FactorHistory:
    """Low-rank updates in the order in which they were appended."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}  # a row for each column of the factors
        self._ranks: list[int] = []

    def __len__(self) -> int:
        """The number of updates."""
        return len(self._ranks)

    def append(self, update: LowRankUpdate) -> None:
        """Copy one more update."""
        start = sum(self._ranks)
        self._ranks.append(update.outputs.shape[1])
        for part in PARTS:
            columns = getattr(update, part).T
            buffer = _with_room(self._buffers.get(part), start + len(columns), columns)
            buffer[start : start + len(columns)] = columns
            self._buffers[part] = buffer

    def cut(self, length: int) -> None:
        """Keep the first `length` updates."""
        del self._ranks[length:]

    def tensors(self) -> dict[str, Tensor]:
        """`outputs` `[d_out, total]` and `inputs` `[d_in, total]` of all updates, and `ranks`."""
        used = sum(self._ranks)
        factors = {p: self._buffers[p][:used].T.contiguous().cpu() for p in PARTS}
        return factors | {"ranks": torch.tensor(self._ranks)}


def _with_room(buffer: Tensor | None, rows: int, like: Tensor) -> Tensor:
    """The buffer, or a longer copy of it with at least that many rows."""
    if buffer is None:
        return like.new_empty(rows, like.shape[1])
    kind = torch.promote_types(buffer.dtype, like.dtype)
    if rows <= len(buffer) and kind == buffer.dtype:
        return buffer
    grown = buffer.new_empty(max(rows, 2 * len(buffer)), buffer.shape[1], dtype=kind)
    grown[: len(buffer)] = buffer
    return grown
