"""The codebook: the state of a sequence, saved and restored as tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# A radius that grew to an input reaches a little beyond it, because of rounding.
SLACK = 1 + 1e-4
# Subtracted from the older of two radii that meet, as in the authors' code.
GAP = 1e-5
# Inputs closer than this share of the key's norm are those of the same prompt.
SAME = 1e-4


@dataclass(frozen=True)
class Codebook:
    """Keys `[entry, d_in]`, values `[entry, d_out]`, radii `[entry]`, and targets as tokens."""

    keys: Tensor
    values: Tensor
    radii: Tensor
    targets: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def empty(cls, d_in: int, d_out: int, device: torch.device) -> "Codebook":
        """No entries yet."""
        return cls(
            torch.zeros(0, d_in, device=device),
            torch.zeros(0, d_out, device=device),
            torch.zeros(0, device=device),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def nearest(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The Euclidean distance of each of `[n, d_in]` to its nearest key, and which it is.

        Of equally near keys, the first.
        """
        # By differences: products would lose the small distances, on which routing depends.
        distances = torch.cdist(
            inputs.float(), self.keys, compute_mode="donot_use_mm_for_euclid_dist"
        )
        found = distances.min(1)
        return found.values, found.indices

    def answers(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """`outputs` with the nearest key's value wherever an input is within its radius.

        Each place is routed alone, so neither its batch nor padding matters.
        """
        flat = inputs.reshape(-1, inputs.shape[-1])
        distances, entries = self.nearest(flat)
        inside = (distances <= self.radii[entries]).reshape(*outputs.shape[:-1], 1)
        values = self.values[entries].to(outputs.dtype).view_as(outputs)
        return torch.where(inside, values, outputs)

    def added(self, key: Tensor, radius: float, target: tuple[int, ...]) -> "Codebook":
        """With one more entry, whose value is still to be found."""
        nothing = self.values.new_zeros(1, self.values.shape[1])
        return Codebook(
            torch.cat([self.keys, key[None].to(self.keys)]),
            torch.cat([self.values, nothing]),
            torch.cat([self.radii, self.radii.new_tensor([radius])]),
            (*self.targets, target),
        )

    def with_radius(self, entry: int, radius: float) -> "Codebook":
        """With another radius of one entry."""
        radii = self.radii.clone()
        radii[entry] = radius
        return replace(self, radii=radii)

    def with_value(self, entry: int, value: Tensor) -> "Codebook":
        """With another value of one entry."""
        values = self.values.clone()
        values[entry] = value.to(values)
        return replace(self, values=values)

    def with_target(self, entry: int, target: tuple[int, ...]) -> "Codebook":
        """With another target of one entry."""
        targets = (*self.targets[:entry], target, *self.targets[entry + 1 :])
        return replace(self, targets=targets)

    def tensors(self) -> dict[str, Tensor]:
        """The codebook as tensors."""
        flat = [token for target in self.targets for token in target]
        lengths = [len(target) for target in self.targets]
        return {
            "keys": self.keys,
            "values": self.values,
            "radii": self.radii,
            "tokens": torch.tensor(flat, dtype=torch.int64),
            "lengths": torch.tensor(lengths, dtype=torch.int64),
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device) -> "Codebook":
        """The codebook that `tensors` gave."""
        keys, values, radii = (tensors[name].to(device) for name in ("keys", "values", "radii"))
        targets = tensors["tokens"].split(tensors["lengths"].tolist())
        return cls(keys, values, radii, tuple(tuple(target.tolist()) for target in targets))


@dataclass(frozen=True)
class Decision:
    """What an edit does to a codebook: the codebook, and the entry whose value is to be found.

    `kept`: the entry has a value already, from which the search begins.
    """

    book: Codebook
    entry: int
    kept: bool


def decide(book: Codebook, key: Tensor, target: tuple[int, ...], radius: float) -> Decision:
    """Add an entry, let one grow, or divide the space between two (Hartvigsen et al. 2023, alg. 1).

    The same prompt with another target replaces its entry; the authors' code halves both radii to
    zero then, so that neither answers. Targets are compared token by token.
    """
    last = len(book)
    if not last:
        return Decision(book.added(key, radius, target), last, kept=False)
    distances, entries = book.nearest(key[None])
    distance, entry = float(distances), int(entries)
    if distance > radius + float(book.radii[entry]):
        return Decision(book.added(key, radius, target), last, kept=False)
    if book.targets[entry] == target:
        grown = max(float(book.radii[entry]), SLACK * distance)
        return Decision(book.with_radius(entry, grown), entry, kept=True)
    if distance <= SAME * float(key.norm()):
        return Decision(book.with_target(entry, target), entry, kept=False)
    divided = book.with_radius(entry, distance / 2 - GAP)
    return Decision(divided.added(key, distance / 2, target), last, kept=False)
