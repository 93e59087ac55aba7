"""One edit, made and not measured: how it changes the weights, and the change itself."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.atomic import together, write_text
from editcore.editing.session import Session
from editcore.errors import ConfigError, RequestError
from editcore.numbers import duration, listed, number
from editcore.requests import OK
from editcore.runs.adhoc.check_report import finite
from editcore.runs.adhoc.setup import planned
from editcore.runs.prepare import Choice, Say
from editcore.updates.delta import save_deltas
from editcore.updates.saved.origin import CHECK

if TYPE_CHECKING:
    from editcore.planning.jobs import EditJob
    from editcore.requests import EditRequest
    from editcore.updates.delta import Delta


@dataclass(frozen=True)
class UnmeasuredEdit:
    """A weight change that nothing is known of but how it was made; `seconds` is how long."""

    request: "EditRequest"
    job: "EditJob"
    delta: "Delta"
    diagnostics: dict[str, float | None]
    seconds: float

    def __str__(self) -> str:
        label, model = self.job.editor.label, self.job.model.name
        reported = [f"{name} {number(value)}" for name, value in self.diagnostics.items()]
        lines = [
            f"{label} on {model}: {self.request.text} → {self.request.target_new}",
            "",
            f"NOT MEASURED: the edit was made in {duration(self.seconds)}, and whether it takes or "
            "does harm is unknown.",
            f"The change has norm {number(self.delta.norm())}: {listed(list(self.delta.updates))}.",
        ]
        return "\n".join([*lines, f"{label} reports {listed(reported)}."] if reported else lines)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, with the names that a measured edit has."""
        known = {
            "verdict": "not measured",
            "grade": None,
            "model": self.job.model.name,
            "editor": self.job.editor.label,
            "editor_options": self.job.editor.options,
            "case_id": self.request.case_id,
            "prompt": self.request.prompt,
            "subject": self.request.subject,
            "target_new": self.request.target_new,
            "target_true": self.request.target_true,
            "delta_norm": self.delta.norm(),
            "diagnostics": self.diagnostics,
            "seconds_editing": self.seconds,
        }
        return {name: finite(value) for name, value in known.items()}

    def save(self, folder: Path) -> Path:
        """Write `delta.safetensors` and `check.json` into a folder; returns the delta's path."""
        delta, about = "delta.safetensors", {"job": self.job.model_dump_json()}
        with together(folder, delta, CHECK) as partial:
            save_deltas({self.request.case_id: self.delta}, partial / delta, about)
            write_text(partial / CHECK, json.dumps(self.as_dict(), indent=2) + "\n")
        return folder / delta


def edit_unmeasured(
    choice: Choice, request: "EditRequest", cache: Path, say: Say
) -> UnmeasuredEdit:
    """Make one edit and measure nothing; the model's weights are as before when this returns.

    Raises `EditcoreError` for what a study would be refused for, `ConfigError` for an editor that
    changes no weights, and `RequestError` if the edit cannot be made.
    """
    with planned(choice, [request], cache, say) as plan:
        say(f"load {plan.job.model.name}")
        session = Session.open(plan.job, plan.registry)
    if not session.info.capabilities.changes_weights:
        raise ConfigError(
            f"{choice.editor} changes no weights, so all that it does is measured; leave "
            "--no-measure out"
        )
    say(f"edit with {plan.job.editor.label}")
    posed, started = session.context.model.posed([request]), time.perf_counter()
    result = session.edit(posed, session.editor.start(session.context))
    seconds = time.perf_counter() - started
    if result.delta is None or result.status != OK:
        raise RequestError(f"the edit could not be made: {result.status}")
    return UnmeasuredEdit(request, plan.job, result.delta, dict(result.diagnostics), seconds)
