"""The state of a sequence: the result of its edits so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from editcore.editing.editor import EditResult
from editcore.runs.sequence.telemetry.keys import KeyHistory
from editcore.updates.cumulative_delta import CumulativeDelta
from editcore.updates.delta import Delta
from editcore.updates.patch import Patch


@dataclass
class SequenceState:
    """The result of the edits so far: weights that stay changed, or the newest patch, and state.

    The changed weights are in the model, so the next edit starts from them; a patch is not. `keys`
    are those of the facts edited so far, if the job's telemetry needs them.
    """

    changes: CumulativeDelta
    state: Any
    patch: Patch | None = None
    keys: KeyHistory = field(default_factory=KeyHistory)

    def take(self, result: EditResult) -> None:
        """Add one more edit."""
        if result.delta is not None:
            self.changes.add(result.delta)
        self.patch, self.state = result.patch, result.state

    def try_out(self, result: EditResult) -> Callable[[], None]:
        """Add one more edit; calling the result takes it back, if nothing followed it."""
        before = self.patch, self.state, self.keys.copy()
        take_out = self.changes.try_out(result.delta or Delta({}))
        self.patch, self.state = result.patch, result.state

        def take_back() -> None:
            take_out()
            self.patch, self.state, self.keys = before

        return take_back
