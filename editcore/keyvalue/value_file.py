"""v* of a shard's cases as a file, so that editors that differ in their keys alone share it."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from editcore.atomic import write_tensors
from editcore.errors import require
from editcore.keyvalue.value import Value
from editcore.records.tensors import opened

FIELDS = ("cases", "initial", "delta", "steps", "loss")


def save(values: Mapping[int, Value | str], path: Path, metadata: Mapping[str, str]) -> None:
    """Write v* `[n, d_model]` twice (start and δ), and why other cases have none."""
    found = {case: value for case, value in values.items() if isinstance(value, Value)}
    reasons = {case: value for case, value in values.items() if isinstance(value, str)}
    empty = torch.empty(0)
    tensors = {
        "cases": torch.tensor(list(found), dtype=torch.long),
        "initial": torch.stack([v.initial.cpu() for v in found.values()]) if found else empty,
        "delta": torch.stack([v.delta.cpu() for v in found.values()]) if found else empty,
        "steps": torch.tensor([v.steps for v in found.values()], dtype=torch.long),
        "loss": torch.tensor([v.loss for v in found.values()], dtype=torch.float64),
    }
    write_tensors(path, tensors, {**metadata, "reasons": json.dumps(reasons)})


def load(path: Path, device: torch.device) -> dict[int, Value | str]:
    """Read what `save` wrote, by case; `DataError` for anything else."""
    with opened(path, "values", device=device) as file:
        cases, initials, deltas, steps, losses = (file[name] for name in FIELDS)
        reasons = json.loads(file.about["reasons"])
        found: dict[int, Value | str] = {int(case): str(why) for case, why in reasons.items()}
        shape = (len(cases), *initials.shape[1:])
        require(len(shape) == 2 or not len(cases), "v* is one vector for each case")
        require(initials.shape == deltas.shape and len(initials) == len(cases), "shapes differ")
        require(initials.is_floating_point() and deltas.is_floating_point(), "v* is no numbers")
        for case, initial, delta, step, loss in zip(
            cases.tolist(), initials, deltas, steps.tolist(), losses.tolist(), strict=True
        ):
            found[int(case)] = Value(initial, delta, int(step), float(loss))
    return found
