"""Checkpoints of long work, from which a killed run resumes."""

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.errors import DataError
from editcore.records.tensors import opened, save_tensors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Progress:
    """How far some work has come: tensors, and a state that can be written as JSON."""

    tensors: "Mapping[str, torch.Tensor]"
    state: Mapping[str, Any]

    @classmethod
    def of(
        cls, parts: "Mapping[str, Mapping[str, torch.Tensor]]", state: Mapping[str, Any]
    ) -> "Progress":
        """Progress whose tensors belong to several parts, such as a network and its optimiser."""
        return cls(
            {f"{p}/{n}": t.detach() for p, named in parts.items() for n, t in named.items()}, state
        )

    def part(self, part: str) -> "dict[str, torch.Tensor]":
        """The tensors of one part by their own names; empty if it has none."""
        inside = f"{part}/"
        return {k.removeprefix(inside): t for k, t in self.tensors.items() if k.startswith(inside)}


@dataclass
class Checkpoint:
    """A file with the progress of unfinished work, written every few seconds.

    `identity` describes the work; a file with another identity is ignored.
    """

    path: Path
    identity: str
    seconds: float
    _written: float = field(default_factory=time.monotonic)

    def read(self) -> Progress | None:
        """The progress to resume from; None if there is none, or only that of other work."""
        if not self.path.exists():
            return None
        try:
            with opened(self.path, "progress") as file:
                if file.about.get("identity") != self.identity:
                    return None
                # A copy, since the last bits of products depend on the alignment in memory.
                tensors = {name: tensor.clone() for name, tensor in file.all().items()}
                return Progress(tensors, dict(json.loads(file.about["done"])))
        except DataError as error:
            self._refused(error)
            return None

    def write_if_due(self, made: Callable[[], Progress]) -> None:
        """Write the progress atomically if the last write was at least `seconds` ago."""
        if time.monotonic() - self._written < self.seconds:
            return
        progress = made()
        about = {"identity": self.identity, "done": json.dumps(progress.state)}
        save_tensors(self.path, progress.tensors, about)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the file, once the work is complete."""
        self.path.unlink(missing_ok=True)

    def _refused(self, error: DataError) -> None:
        warnings.warn(f"{self.path} cannot be resumed from: {error}", stacklevel=3)
