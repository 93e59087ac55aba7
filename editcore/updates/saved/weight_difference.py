"""Where the weights of two saved models of one kind differ, read from their files one at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from editcore.errors import ModelError
from editcore.numbers import MISSING
from editcore.sources.safetensors_header import TensorPlace
from editcore.updates.numerical_rank import (
    MOST,
    errors_of_sum,
    numerical_rank,
    rounding_errors,
)
from editcore.updates.saved.edit_record import FLOATS
from editcore.updates.saved.stored_weights import stored_name, stored_weights


@dataclass(frozen=True)
class WeightDifference:
    """How a weight W of a model differs in another one's files, where it is W + ΔW.

    `norm` is ‖ΔW‖, `relative` is ‖ΔW‖ / ‖W‖, and `nonfinite` counts the numbers of the other that
    are infinite or NaN; with any, nothing else is known. `rank` and `first` are those of
    `numerical_rank`, for a matrix that differs. The bits decide whether a weight is `changed`.
    """

    name: str
    shape: tuple[int, ...]
    changed: bool = False
    norm: float = 0.0
    relative: float = 0.0
    rank: int | None = None
    first: float | None = None
    nonfinite: int = 0

    @property
    def low_rank(self) -> bool:
        """Whether it is a matrix whose change has at most a quarter of the full rank."""
        return self.rank is not None and 4 * self.rank <= min(self.shape)

    @property
    def rank_in_words(self) -> str:
        """The rank, or that it is too high to be counted; a dash for what has none."""
        if self.first is None:
            return MISSING
        return f"above {MOST}" if self.rank is None else str(self.rank)


@dataclass(frozen=True)
class StoredWeight:
    """A weight's name in a model's files, and its place."""

    key: str
    place: TensorPlace

    def read(self) -> Float[Tensor, "*shape"]:
        """The weight, in the dtype that it is stored in."""
        with safe_open(self.place.file, framework="pt") as file:
            weight: Float[Tensor, "*shape"] = file.get_tensor(self.key)
        return weight


Pairs = Mapping[str, tuple[StoredWeight, StoredWeight]]
"""A model's weights and another one's, by the name of the parameter."""


def paired_weights(model: nn.Module, base: Path, other: Path) -> Pairs:
    """Each parameter of `model` in the files of both folders; tied ones once.

    Raises `ModelError` if one lacks a parameter, has it in another shape, or quantised.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    prefix = str(getattr(model, "base_model_prefix", ""))
    found = [_places(list(names.values()), prefix, folder) for folder in (base, other)]
    pairs = {alike[0]: pair for alike, *pair in zip(names.values(), *found, strict=True)}
    for name, (one, two) in pairs.items():
        if one.place.shape != two.place.shape:
            raise ModelError(
                f"{name} has the shape {two.place.shape} in {other} and {one.place.shape} in "
                f"{base}, so they are not one model before and after an edit; give two models of "
                "one architecture and vocabulary"
            )
    return {name: (one, two) for name, (one, two) in pairs.items()}


def _places(names: list[list[str]], prefix: str, folder: Path) -> list[StoredWeight]:
    places = stored_weights(folder)
    keys = [stored_name(alike, prefix, places, folder) for alike in names]
    for key in keys:
        if places[key].dtype not in FLOATS:
            raise ModelError(
                f"{places[key].file} stores {key} as {places[key].dtype}, but only "
                f"{', '.join(FLOATS)} can be compared; give the model in one of these, not "
                "quantised"
            )
    return [StoredWeight(key, places[key]) for key in keys]


def differences(pairs: Pairs) -> Iterator[WeightDifference]:
    """How each weight differs; two weights are in memory at a time.

    Where the dtypes differ, W is rounded to the other's first, which by itself is no change.
    """
    for name, (base, other) in pairs.items():
        yield difference(name, base.read(), other.read())


@torch.no_grad()
def difference(
    name: str, base: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]
) -> WeightDifference:
    """How one weight differs in another model."""
    rounded = base.to(other.dtype)
    same = rounded if rounded.isfinite().all() else base
    shape = tuple(other.shape)
    if nonfinite := int((~other.isfinite()).sum()):
        return WeightDifference(name, shape, changed=True, nonfinite=nonfinite)
    if torch.equal(same.to(other.dtype), other):
        return WeightDifference(name, shape)
    change = other.double() - same.double()
    norm, size = float(change.norm()), float(same.double().norm())
    relative = norm / size if size else torch.inf
    if change.ndim != 2:
        return WeightDifference(name, shape, True, norm, relative)
    errors = errors_of_sum(change, other)
    if same is not base:
        errors += rounding_errors(same, other.dtype)
    found = numerical_rank(change, errors)
    return WeightDifference(name, shape, True, norm, relative, found.rank, found.first)
