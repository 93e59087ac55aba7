"""How far a sequence has come, kept beside its table: rows, changes of weights, and state."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editcore.errors import DataError
from editcore.planning.jobs import SequenceJob
from editcore.records.checkpoint import Checkpoint, Progress
from editcore.records.provenance import of_job
from editcore.updates.cumulative_delta import PARAMETERS, CumulativeDelta

CHANGE, STATE = "change", "state"


@dataclass(frozen=True)
class Resumed:
    """The rows of the steps so far, and the editor's state as it saves it."""

    rows: list[dict[str, Any]]
    state: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class SequenceProgress:
    """The file that one job keeps while it runs."""

    file: Checkpoint

    @classmethod
    def beside(cls, out: Path, job: SequenceJob) -> "SequenceProgress":
        """The hidden file that belongs to the table `out`; that of another job counts as none."""
        path = out.with_name(f".{out.name}.checkpoint.safetensors")
        identity = json.dumps(of_job(job), sort_keys=True)
        return cls(Checkpoint(path, identity, seconds=0))

    def write(self, changes: CumulativeDelta, resumed: Resumed) -> None:
        """Replace what was there."""
        parts = {CHANGE: changes.tensors(), STATE: resumed.state}
        known = {"rows": resumed.rows, PARAMETERS: changes.record()}
        self.file.write_if_due(lambda: Progress.of(parts, known))

    def resume(self, changes: CumulativeDelta, first: Mapping[str, Any]) -> Resumed | None:
        """Change the model as it was and say how far it had come; None where it has to begin.

        `first` is the row of the unedited model: where it differs from the one that was saved, the
        model or the texts have changed since.
        """
        progress = self.file.read()
        if progress is None or progress.state["rows"][:1] != [first]:
            return None
        with contextlib.suppress(DataError):
            changes.restore(progress.part(CHANGE), progress.state[PARAMETERS], self.file.path)
            return Resumed(progress.state["rows"], progress.part(STATE))
        return None

    def remove(self) -> None:
        """The job is done."""
        self.file.remove()
