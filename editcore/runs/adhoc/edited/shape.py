"""The shape of a change of weights: how many parameters, in which layers, of which rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from editcore.numbers import listed, plural

if TYPE_CHECKING:
    from editcore.models.anatomy import Anatomy
    from editcore.updates.saved.weight_difference import WeightDifference

DOWN = "down-projection"


@dataclass(frozen=True)
class Place:
    """The layer of a parameter, None outside the blocks, and its map or norm there."""

    layer: int | None
    part: str

    @classmethod
    def of(cls, parameter: str, anatomy: "Anatomy") -> "Place":
        """The place of a parameter of a model with these parts."""
        module, _, kind = parameter.rpartition(".")
        blocks = f"{anatomy.blocks}."
        if not module.startswith(blocks):
            return cls(None, module)
        layer, _, part = module.removeprefix(blocks).partition(".")
        name = DOWN if part == anatomy.down else part
        return cls(int(layer), name if kind == "weight" else f"{name}.{kind}")

    def __str__(self) -> str:
        return self.part if self.layer is None else f"the {self.part} of layer {self.layer}"


def sentence(differences: Sequence["WeightDifference"], anatomy: "Anatomy", depth: int) -> str:
    """What the change of a model with `depth` blocks looks like, in one sentence."""
    changed = [each for each in differences if each.changed]
    if not changed:
        return "NO CHANGE: no weight differs."
    if unfit := [each for each in changed if each.nonfinite]:
        names = listed([each.name for each in unfit[:3]])
        more = f" and {plural(len(unfit) - 3, 'other parameter')}" if len(unfit) > 3 else ""
        numbers = plural(sum(each.nonfinite for each in unfit), "number")
        return f"NOT FINITE: {numbers} of {names}{more} are infinite or NaN."
    places = [Place.of(each.name, anatomy) for each in changed]
    if len(changed) == 1:
        return _only(changed[0], places[0])
    matrices = [each for each in changed if len(each.shape) == 2]
    if matrices and all(each.low_rank for each in matrices):
        return _low_rank(matrices, anatomy, vectors=len(changed) - len(matrices))
    return _dense(places, len(differences), depth)


def _only(change: "WeightDifference", place: Place) -> str:
    """The sentence on a change of one parameter."""
    if len(change.shape) != 2:
        return f"ONE VECTOR: the only change is in {place}."
    if change.rank == 1:
        return f"RANK ONE: the only change is of rank one, in {place}."
    kind = "LOW RANK" if change.low_rank else "DENSE IN ONE MAP"
    return f"{kind}: the only change is of rank {change.rank_in_words}, in {place}."


def _low_rank(changes: Sequence["WeightDifference"], anatomy: "Anatomy", vectors: int) -> str:
    """The sentence on changes of low rank."""
    places = [Place.of(each.name, anatomy) for each in changes]
    parts = list(dict.fromkeys(place.part for place in places if place.layer is not None))
    layers, outside = _spread(places)
    ranks = sorted({each.rank for each in changes if each.rank is not None})
    span = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    one = len(parts) == 1 and not outside
    where = f"IN {len(layers)} LAYERS" if one else f"IN {len(changes)} MAPS"
    inside = [f"the {listed(parts)} of {in_layers(layers)}"] if layers else []
    also = f", and {plural(vectors, 'vector')} too" if vectors else ""
    return f"LOW RANK {where}: {listed([*inside, *outside])} changed by rank {span}{also}."


def _dense(places: Sequence[Place], total: int, depth: int) -> str:
    """The sentence on changes that are not all of low rank."""
    layers, outside = _spread(places)
    count = f"{len(places):,} of {total:,} parameters changed"
    if len(layers) == depth:
        return f"DENSE EVERYWHERE: {count}, in all {depth} layers."
    spots = listed([*([in_layers(layers)] if layers else []), *outside])
    where = "IN ONE LAYER" if len(layers) == 1 and not outside else "IN PART"
    return f"DENSE {where}: {count}, in {spots}."


def _spread(places: Sequence[Place]) -> tuple[set[int], list[str]]:
    """The layers of some places, and the parts of those outside all layers."""
    layers = {place.layer for place in places if place.layer is not None}
    return layers, list(dict.fromkeys(place.part for place in places if place.layer is None))


def in_layers(layers: set[int]) -> str:
    """Layers in words.

    >>> in_layers({3, 4, 5, 6}), in_layers({2, 7}), in_layers({1})
    ('layers 3 to 6', 'layers 2 and 7', 'layer 1')
    """
    found = sorted(layers)
    if len(found) == 1:
        return f"layer {found[0]}"
    if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"layers {found[0]} to {found[-1]}"
    return f"layers {listed([str(layer) for layer in found])}"
