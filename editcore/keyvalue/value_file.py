"""v* of a shard's cases as a file, so that editors that differ in their keys alone share it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from editcore.atomic import write_tensors
from editcore.errors import DataError
from editcore.keyvalue.value import Value

if TYPE_CHECKING:
    pass

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
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            columns = [file.get_tensor(name) for name in FIELDS]
            reasons = json.loads(file.metadata()["reasons"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no values ({error}); delete it and run again") from error
    found: dict[int, Value | str] = {int(case): reason for case, reason in reasons.items()}
    for case, initial, delta, steps, loss in zip(*columns, strict=True):
        found[int(case)] = Value(initial, delta, int(steps), float(loss))
    return found
