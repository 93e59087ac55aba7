"""Running sums of k kᵀ by layer, and the checkpoint that a killed measurement continues from."""

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from editcore.atomic import write_tensors


@dataclass
class MomentSums:
    """Sums of k kᵀ in float64 by layer, over so many tokens of so many batches."""

    by_layer: dict[int, torch.Tensor] = field(default_factory=dict)
    tokens: int = 0
    batches: int = 0

    def add(self, keys: Mapping[int, torch.Tensor]) -> None:
        """Count one batch: for each layer the keys of the same tokens, `[tokens, d_key]`."""
        for layer, rows in keys.items():
            rows = rows.to(_exact_place(rows.device)).double()
            if layer in self.by_layer:
                self.by_layer[layer].addmm_(rows.T, rows)
            else:
                self.by_layer[layer] = rows.T @ rows
        self.tokens += len(next(iter(keys.values())))
        self.batches += 1


def _exact_place(device: torch.device) -> torch.device:
    """Where float64 exists: the keys' own device, or the processor for Apple's graphics."""
    return torch.device("cpu") if device.type == "mps" else device


@dataclass
class Checkpoint:
    """A file that keeps the sums of an unfinished measurement, written every so many seconds.

    `identity` says what is measured; a file with another one is left unread. The sums are float64,
    so that what continues from them ends with the same bytes.
    """

    path: Path
    identity: str
    seconds: float
    _written: float = field(default_factory=time.monotonic)

    def load(self, device: torch.device) -> MomentSums:
        """The sums to continue from; empty ones where there are none, or of something else."""
        if not self.path.exists():
            return MomentSums()
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("identity") != self.identity:
                    return MomentSums()
                place, layers = _exact_place(device), file.keys()
                # A copy, since products depend in their last bits on how memory is aligned.
                sums = {int(n): file.get_tensor(n).to(place, copy=True) for n in layers}
                return MomentSums(sums, **json.loads(about["done"]))
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            warnings.warn(f"{self.path} cannot be continued from ({error})", stacklevel=2)
            return MomentSums()

    def save_if_due(self, sums: MomentSums) -> None:
        """Write the sums, whole or not at all, where the last time was long enough ago."""
        if time.monotonic() - self._written < self.seconds:
            return
        done = json.dumps({"tokens": sums.tokens, "batches": sums.batches})
        tensors = {str(layer): total.cpu() for layer, total in sums.by_layer.items()}
        write_tensors(self.path, tensors, {"identity": self.identity, "done": done})
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the file, once its sums have become a result."""
        self.path.unlink(missing_ok=True)
