"""A training's state in one safetensors file: weights, optimiser state and plain data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from editcore.atomic import write_tensors

MODEL, OPTIMIZER = "model/", "optimizer/"


def save(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, about: dict[str, Any]
) -> None:
    """Write the file atomically; `about` must be plain data that JSON can represent."""
    state = optimizer.state_dict()
    # Copies, because tied weights share memory, which the format refuses.
    tensors = {f"{MODEL}{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    for number, entries in state["state"].items():
        tensors |= {f"{OPTIMIZER}{number}/{name}": value for name, value in entries.items()}
    metadata = {"groups": json.dumps(state["param_groups"]), "about": json.dumps(about)}
    write_tensors(path, tensors, metadata)


def load(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore the model and optimiser that `save` wrote, and return the plain data."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    weights = {n.removeprefix(MODEL): t for n, t in tensors.items() if n.startswith(MODEL)}
    model.load_state_dict(weights)
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMIZER):
            number, _, field = name.removeprefix(OPTIMIZER).partition("/")
            entries.setdefault(int(number), {})[field] = tensor
    groups = json.loads(metadata["groups"])
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
    about: dict[str, Any] = json.loads(metadata["about"])
    return about
