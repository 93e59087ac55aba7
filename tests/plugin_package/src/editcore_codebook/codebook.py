"""The codebook, which is the state of a sequence, and the patch that applies it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from editcore.toolkit import Patch

# An expanded radius reaches a little beyond its outermost input, because of rounding.
SLACK = 1.001
# Inputs closer than this share of the key's norm are those of the same prompt.
SAME = 1e-4


@dataclass(frozen=True)
class Codebook:
    """Keys and values `[entries, d_model]`, deferral radii `[entries]`, and targets as tokens."""

    keys: torch.Tensor
    values: torch.Tensor
    radii: torch.Tensor
    targets: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def empty(cls, width: int, device: torch.device) -> "Codebook":
        """No entries yet."""
        nothing = torch.zeros(0, width, device=device)
        return cls(nothing, nothing, torch.zeros(0, device=device))

    def nearest(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The Euclidean distance of each of `[n, d_model]` to its nearest key, and which it is."""
        distances = torch.cdist(
            inputs.float(), self.keys, compute_mode="donot_use_mm_for_euclid_dist"
        )
        found = distances.min(1)
        return found.values, found.indices

    def answers(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """`outputs`, replaced by the nearest key's value where an input is within its radius.

        Hartvigsen et al. 2023, §2.1; at every position, since each is the last of some text.
        """
        flat = inputs.reshape(-1, inputs.shape[-1])
        distance, entry = self.nearest(flat)
        inside = (distance <= self.radii[entry])[:, None]
        answered = torch.where(inside, self.values[entry].to(outputs.dtype), outputs.view_as(flat))
        return answered.view_as(outputs)

    def expanded(self, entry: int, distance: float) -> "Codebook":
        """The codebook with one radius enlarged to `distance`, that of an input with its target."""
        radii = self.radii.clone()
        radii[entry] = max(float(radii[entry]), SLACK * distance)
        return replace(self, radii=radii)

    def split(self, entry: int, distance: float) -> "Codebook":
        """The codebook with one radius at most half of `distance`, to an input of other target."""
        radii = self.radii.clone()
        radii[entry] = min(float(radii[entry]), distance / 2)
        return replace(self, radii=radii)

    def without(self, entry: int) -> "Codebook":
        """The codebook without one entry."""
        kept = [i for i in range(len(self.keys)) if i != entry]
        return Codebook(
            self.keys[kept],
            self.values[kept],
            self.radii[kept],
            tuple(self.targets[i] for i in kept),
        )

    def extended(
        self, key: torch.Tensor, value: torch.Tensor, radius: float, target: tuple[int, ...]
    ) -> "Codebook":
        """The codebook with one more entry."""
        return Codebook(
            torch.cat([self.keys, key[None]]),
            torch.cat([self.values, value[None]]),
            torch.cat([self.radii, self.radii.new_tensor([radius])]),
            (*self.targets, target),
        )


@dataclass(frozen=True)
class CodebookPatch(Patch):
    """A codebook at the module `path`."""

    first_layer: int | None
    path: str
    codebook: Codebook

    def finite(self) -> bool:
        """Whether all its keys, values and radii are finite."""
        book = self.codebook
        return all(bool(part.isfinite().all()) for part in (book.keys, book.values, book.radii))

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """A block in which the module's output comes from `Codebook.answers`."""

        def answer(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            return self.codebook.answers(inputs[0], output)

        handle = model.get_submodule(self.path).register_forward_hook(answer)
        try:
            yield
        finally:
            handle.remove()
