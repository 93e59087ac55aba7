"""At which layers the first position differs from all others (Figure 4, by layer).

At every layer: the norm of keys and of states, their cosine to the mean over later positions, and
the distance of a position's keys to those of later positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from editcore.models import hooks
from editcore.runs.mechanism import geometry
from editcore.runs.mechanism.material import Material

ROWS = 64
LENGTH = 16  # tokens of each row
SHOWN = (0, 1, 2, 3, 7, 15)


@dataclass(frozen=True)
class LayerActivations:
    """Keys and states of one layer."""

    keys: Float[Tensor, "row position d_key"]
    states: Float[Tensor, "row position d_model"]


@torch.no_grad()
def record(
    run: nn.Module,
    ids: Int[Tensor, "row position"],
    places: Mapping[int, tuple[nn.Module, nn.Module]],
) -> dict[int, LayerActivations]:
    """Keys and states of each layer; `places` are its down-projection and its block."""
    with ExitStack() as stack:
        seen = {
            layer: [stack.enter_context(hooks.recording(module)) for module in modules]
            for layer, modules in places.items()
        }
        run(input_ids=ids)
    found = {}
    for layer, (down, block) in seen.items():
        assert down.input is not None and block.output is not None
        found[layer] = LayerActivations(down.input.double().cpu(), block.output.double().cpu())
    return found


def windows(
    rows: Sequence[Sequence[int]], start: Sequence[int], length: int
) -> Int[Tensor, "row position"]:
    """Rows of `length` tokens cut from long ones, after the special tokens in `start`."""
    inner = length - len(start)
    long = [row for row in rows if len(row) >= inner][:ROWS]
    # Cuts begin at different places, so that their first tokens vary.
    offsets = [7 * i % (len(row) - inner + 1) for i, row in enumerate(long)]
    cut = [[*start, *row[o : o + inner]] for row, o in zip(long, offsets, strict=True)]
    return torch.tensor(cut)


def rows(material: Material) -> Iterator[dict[str, Any]]:
    """Rows of `DEPTH` for a decoder."""
    model = material.model
    start = [t for t in model.tokenizer("")["input_ids"] if t in model.tokenizer.all_special_ids]
    ids = windows(material.rows, start, LENGTH).to(model.device)
    if not len(ids):
        return
    layers = range(model.parts.depth)
    places = {i: (model.parts.down(i), model.parts.block(i)) for i in layers}
    found = record(model.model.base_model, ids, places)
    yield from described(material.job.model.name, "decoder", found, material.job.seed)


def described(
    model: str, part: str, found: Mapping[int, LayerActivations], seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of `DEPTH`: one for each layer and shown position.

    `distance` is the mean cosine distance of the position's keys to keys of later positions: one
    per row, drawn from the second position on; a key is not compared with that of its own row.
    `within` is the mean distance of the position's keys to each other, and `gap` the energy
    distance of the two sets.
    """
    for layer, each in found.items():
        count, length = each.keys.shape[:2]
        rng = torch.Generator().manual_seed(seed)
        drawn = torch.randint(1, length, (count,), generator=rng)
        later = each.keys[torch.arange(count), drawn]
        among_later = _within(later, seed)
        for position in (place for place in SHOWN if place < length):
            keys = each.keys[:, position]
            distances = geometry.cosine(keys, later)
            found_at = geometry.interval(distances, same=True, seed=seed)
            within = _within(keys, seed)
            yield {
                "model": model,
                "part": part,
                "layer": layer,
                "position": position,
                "key_norm": float(keys.norm(dim=1).mean()),
                "key_cosine": _to_mean(each.keys, position),
                "state_norm": float(each.states[:, position].norm(dim=1).mean()),
                "state_cosine": _to_mean(each.states, position),
                "distance": found_at.mean,
                "distance_low": found_at.low,
                "distance_high": found_at.high,
                "within": within,
                "gap": geometry.gap(found_at.mean, within, among_later),
                "n": count,
            }


def _within(keys: Float[Tensor, "row d_key"], seed: int) -> float:
    return geometry.interval(geometry.cosine(keys, keys), same=True, seed=seed).mean


def _to_mean(vectors: Float[Tensor, "row position width"], position: int) -> float:
    """Mean cosine of a position's vectors to the mean over all positions but the first."""
    mean = vectors[:, 1:].flatten(0, 1).mean(0)
    return float((1 - geometry.cosine(vectors[:, position], mean[None])).mean())
