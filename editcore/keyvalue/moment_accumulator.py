"""Running sums of k kᵀ by layer, and the checkpoint that a killed measurement continues from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from editcore.records import checkpoint


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


class Checkpoint(checkpoint.Checkpoint):
    """Keeps the sums of an unfinished measurement.

    They are float64, so that what continues from them ends with the same bytes.
    """

    def load(self, device: torch.device) -> MomentSums:
        """The sums to continue from; empty ones where there are none, or of something else."""
        kept = self.read()
        if kept is None:
            return MomentSums()
        place = _exact_place(device)
        try:
            sums = {int(layer): total.to(place) for layer, total in kept.tensors.items()}
            return MomentSums(sums, **kept.state)
        except (ValueError, TypeError) as error:
            self._refused(error)
            return MomentSums()

    def save_if_due(self, sums: MomentSums) -> None:
        """Write the sums where the last time was long enough ago."""
        done = {"tokens": sums.tokens, "batches": sums.batches}
        tensors = {str(layer): total for layer, total in sums.by_layer.items()}
        self.write_if_due(lambda: checkpoint.Progress(tensors, done))
