"""The checkpoint of a sequence, next to its table: rows, changes of weights, keys, and state."""

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
from editcore.runs.sequence.telemetry.keys import KeyHistory
from editcore.updates.cumulative_delta import PARAMETERS, CumulativeDelta

CHANGE, STATE, KEYS = "change", "state", "keys"


@dataclass(frozen=True)
class Resumed:
    """The rows of the steps so far, the editor's state as `save_state` returned it, and keys."""

    rows: list[dict[str, Any]]
    state: Mapping[str, torch.Tensor]
    keys: KeyHistory


@dataclass(frozen=True)
class SequenceProgress:
    """The checkpoint file of one job."""

    file: Checkpoint

    @classmethod
    def beside(
        cls, out: Path, job: SequenceJob, artefacts: Mapping[str, str]
    ) -> "SequenceProgress":
        """The hidden file next to the table `out`.

        One of another job, or made with artefacts of other digests, is ignored.
        """
        path = out.with_name(f".{out.name}.checkpoint.safetensors")
        identity = json.dumps(of_job(job, artefacts=artefacts), sort_keys=True)
        return cls(Checkpoint(path, identity, seconds=0))

    def write(self, changes: CumulativeDelta, resumed: Resumed) -> None:
        """Write the progress, replacing the last."""
        parts = {
            CHANGE: changes.tensors(),
            STATE: resumed.state,
            KEYS: resumed.keys.tensors(),
        }
        known = {"rows": resumed.rows, PARAMETERS: changes.record()}
        self.file.write_if_due(lambda: Progress.of(parts, known))

    def resume(self, changes: CumulativeDelta, first: Mapping[str, Any]) -> Resumed | None:
        """Repeat the saved changes on the model and return the progress; None to start over.

        `first` is the row of the unedited model: if it differs from the saved one, the model or the
        texts have changed since.
        """
        progress = self.file.read()
        if progress is None or progress.state["rows"][:1] != [first]:
            return None
        with contextlib.suppress(DataError):
            changes.restore(progress.part(CHANGE), progress.state[PARAMETERS], self.file.path)
            keys = KeyHistory.of(progress.part(KEYS))
            return Resumed(progress.state["rows"], progress.part(STATE), keys)
        return None

    def remove(self) -> None:
        """Delete the file, when the job is done."""
        self.file.remove()
