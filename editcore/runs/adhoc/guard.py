"""A list of edits, one after the other, of which those are refused that would ruin the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.collapse.verdict import judge
from editcore.errors import ConfigError, in_one_line
from editcore.numbers import number, times
from editcore.progress import progress_bar
from editcore.records.provenance import versions
from editcore.records.schemas import GUARD
from editcore.records.tables import write_table
from editcore.requests import OK
from editcore.runs.adhoc.setup import Choice, Say, collapse_rule, made_ready

if TYPE_CHECKING:
    from editcore.requests import EditRequest
    from editcore.runs.edit import Shard
    from editcore.updates.delta import Delta

REFUSED = "refused: "
ACCUMULATED = 0


@dataclass(frozen=True)
class Guarded:
    """What came of a list of edits: a row for each, and those accepted as one weight change."""

    rows: Sequence[dict[str, Any]]
    delta: "Delta"
    job: str

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The rows of the edits that are not in `delta`."""
        return [row for row in self.rows if not row["accepted"]]

    def save(self, folder: Path) -> None:
        """Write `delta.safetensors`, and the rows as `guard.parquet`."""
        from editcore.updates.delta import save_deltas

        save_deltas({ACCUMULATED: self.delta}, folder / "delta.safetensors", {"job": self.job})
        about = {"job": self.job, "versions": versions()}
        write_table(folder / "guard.parquet", self.rows, GUARD, about)


def guard(choice: Choice, requests: Sequence["EditRequest"], cache: Path, say: Say) -> Guarded:
    """Edit in sequence; an edit after which the model has collapsed is refused.

    Each edit is made on the model with the accepted ones in place and judged by the perplexity of
    the outcome against that of the unedited model. Raises `EditcoreError` as `check` does.
    """
    from editcore.updates.delta import combine_deltas

    shard = made_ready(choice, requests, cache, say)
    if not shard.session.info.capabilities.changes_weights:
        raise ConfigError(
            f"{choice.editor} changes no weights, so its edits cannot be kept as a weight change; "
            "guard an editor that does"
        )
    say(f"edit {len(requests)} facts one after the other")
    rule = collapse_rule(choice)
    accepted: list[Delta] = []
    rows = []
    state = shard.session.editor.start(shard.session.context)
    for step, request in enumerate(progress_bar(shard.requests, title="guard", unit="edit")):
        row, delta, after = _tried(shard, request, accepted, state)
        if delta is not None and judge(row["perplexity"], row["perplexity_base"], rule).collapsed:
            row["status"], delta = f"{REFUSED}{_reason(row)}", None
        if delta is not None:
            accepted.append(delta)
            state = after
        rows.append({**row, "step": step, "accepted": delta is not None})
    kept = [{name: row.get(name) for name in GUARD.names} for row in rows]
    return Guarded(kept, combine_deltas(accepted), shard.rows.job.model_dump_json())


def _tried(
    shard: "Shard", request: "EditRequest", accepted: Sequence["Delta"], state: Any
) -> tuple[dict[str, Any], "Delta | None", Any]:
    """The row of one more edit, its weight change if it could be made, and the state after it."""
    from editcore.editing.editor import EditResult
    from editcore.runs.edit_rows import MadeEdit
    from editcore.updates.delta import combine_deltas

    session = shard.session
    if request.flaw:
        result = EditResult(status=request.flaw)
    else:
        with combine_deltas(accepted).applied(session.context.model.model):
            try:
                result = session.finished(session.editor.edit(session.context, [request], state))
            except Exception as error:  # a third party's editor may raise anything
                result = EditResult(status=in_one_line(error))
    whole = None if result.delta is None else combine_deltas([*accepted, result.delta])
    outcome = EditResult(whole, result.status, result.diagnostics)
    (row,) = shard.rows.of([MadeEdit(request, outcome, 0.0)])
    if row["status"] != OK:
        return row | {"status": f"{REFUSED}{row['status']}"}, None, state
    return row, result.delta, result.state


def _reason(row: dict[str, Any]) -> str:
    change = f"{number(row['perplexity_base'])} → {number(row['perplexity'])}"
    told = f"the model would collapse, perplexity {change} ({times(row['perplexity_ratio'])})"
    if row["denominator"] is None:
        return told
    return f"{told}; the update is divided by {number(row['denominator'])}"


def page(guarded: Guarded) -> str:
    """The outcome for people, one line per edit."""
    lines = []
    for row in guarded.rows:
        fact = f"{row['prompt'].replace('{}', row['subject'])} → {row['target_new']}"
        if row["accepted"]:
            lines.append(f"  ok       {fact} (perplexity ×{number(row['perplexity_ratio'])})")
        else:
            lines.append(f"  refused  {fact}\n           {row['status'].removeprefix(REFUSED)}")
    count = len(guarded.rows) - len(guarded.refused)
    return "\n".join([*lines, "", f"{count} of {len(guarded.rows)} edits accepted."])
