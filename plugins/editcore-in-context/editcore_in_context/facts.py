"""The facts of a sequence in tokens: its state, saved and restored as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Fact:
    """A fact's prompt, and the line that is put before prompts; both without special tokens."""

    prompt: Tokens
    line: Tokens


Facts = tuple[Fact, ...]
"""Facts in the order of their last edits."""


def remembered(facts: Facts, new: Sequence[Fact]) -> Facts:
    """The facts with new ones; a fact whose prompt is edited again is replaced by the newer."""
    latest: dict[Tokens, Fact] = {}
    for fact in (*facts, *new):
        latest.pop(fact.prompt, None)
        latest[fact.prompt] = fact
    return tuple(latest.values())


def as_tensors(facts: Facts) -> dict[str, Tensor]:
    """The facts as tensors."""
    found: dict[str, Tensor] = {}
    for name, rows in (
        ("prompt", [fact.prompt for fact in facts]),
        ("line", [fact.line for fact in facts]),
    ):
        flat = [token for row in rows for token in row]
        found[f"{name}.tokens"] = torch.tensor(flat, dtype=torch.int64)
        found[f"{name}.lengths"] = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    return found


def from_tensors(tensors: Mapping[str, Tensor]) -> Facts:
    """The facts that `as_tensors` gave."""
    columns = []
    for name in ("prompt", "line"):
        lengths = tensors[f"{name}.lengths"].tolist()
        parts = tensors[f"{name}.tokens"].split(lengths)
        columns.append([tuple(part.tolist()) for part in parts])
    return tuple(Fact(*pair) for pair in zip(*columns, strict=True))
