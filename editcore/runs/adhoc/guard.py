"""Sequential edits, except those that would damage or collapse the model, which are refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.atomic import together
from editcore.collapse.objection import objection
from editcore.collapse.verdict import DAMAGED, judge
from editcore.collapse.yardstick import Scale, in_words
from editcore.config.alarm import Alarm, shipped
from editcore.config.collapse import CollapseSection, Harm
from editcore.errors import ConfigError
from editcore.evaluation import effect
from editcore.numbers import times
from editcore.progress import progress_bar
from editcore.records.provenance import versions
from editcore.records.schemas import GUARD
from editcore.records.tables import write_table
from editcore.runs.adhoc.check_report import finite
from editcore.runs.adhoc.measured_with import MeasuredWith
from editcore.runs.adhoc.setup import set_up
from editcore.runs.prepare import Choice, Say

if TYPE_CHECKING:
    from editcore.requests import EditRequest
    from editcore.updates.delta import Delta

REFUSED = "refused: "
ACCUMULATED = 0


@dataclass(frozen=True)
class Guarded:
    """The outcome of a list of edits: a row for each, and those accepted as one weight change.

    `stopped` is why the edits after the last row, `untried`, were not tried, if they were not.
    `notes` are what the reader should know first, `scale` is what rounding the model's weights does
    to its predictions, and `rule` is what edited models were graded by.
    """

    rows: Sequence[dict[str, Any]]
    delta: "Delta"
    job: str
    measured_with: MeasuredWith
    stopped: str = ""
    notes: Sequence[str] = ()
    scale: Scale = field(default_factory=dict)
    rule: CollapseSection = field(default_factory=CollapseSection)
    untried: Sequence["EditRequest"] = ()

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The rows of the edits that are not in `delta`."""
        return [row for row in self.rows if not row["accepted"]]

    def as_list(self) -> list[dict[str, Any]]:
        """The rows as plain data for JSON, each with what it was measured with."""
        known = {"measured_with": self.measured_with.as_dict()}
        return [{name: finite(value) for name, value in (row | known).items()} for row in self.rows]

    def save(self, folder: Path) -> None:
        """Write `delta.safetensors` and the rows as `guard.parquet`, both of one run."""
        from editcore.updates.delta import save_deltas

        delta, table = "delta.safetensors", "guard.parquet"
        about = {
            "job": self.job,
            "collapse": self.rule.model_dump(),
            "measured_with": self.measured_with.as_dict(),
            "versions": versions(),
        }
        with together(folder, delta, table) as partial:
            save_deltas({ACCUMULATED: self.delta}, partial / delta, {"job": self.job})
            write_table(partial / table, self.rows, GUARD, about)


def guard(
    choice: Choice,
    requests: Sequence["EditRequest"],
    cache: Path,
    say: Say,
    *,
    allow_damage: bool = False,
    stop: bool = False,
) -> Guarded:
    """Edit in sequence; an edit after which the model has collapsed or is damaged is refused.

    With `allow_damage`, only a collapse is refused. With `stop`, no further edit is tried after one
    is refused, or once a collapse is foretold. Each edit is made on the model with the accepted
    ones in place, and the result is compared with the unedited model. After each accepted edit, the
    accepted ones before it are asked again. Raises `EditcoreError` as `check` does, and
    `ConfigError` for an editor that changes no weights.
    """
    ready = set_up(choice, requests, cache, say)
    shard = ready.shard
    if not shard.session.info.capabilities.changes_weights:
        raise ConfigError(
            f"{choice.editor} changes no weights, so its edits cannot be kept as a weight change; "
            "guard an editor that does"
        )
    say(f"edit {len(requests)} facts in sequence")
    from editcore.runs.adhoc.trials import Trials
    from editcore.updates.cumulative_delta import accumulating
    from editcore.updates.delta import combine_deltas

    accepted: list[Delta] = []
    rows: list[dict[str, Any]] = []
    refuse = partial(_objection, ready.rule, "collapse" if allow_damage else "damage")
    alarm, stopped = shipped(), ""
    with accumulating(shard.session.context.model) as changes:
        trials = Trials(shard, changes)
        for step, request in enumerate(progress_bar(shard.requests, title="guard", unit="edit")):
            row, delta = trials.attempt(request, refuse)
            if delta is not None:
                accepted.append(delta)
                row["took"] = effect.took(row)
                lost = [request.case_id for request in trials.endangered()]
                row["endangers"] = json.dumps(lost) if lost else None
            rows.append(_row(row, step, accepted=delta is not None))
            left = len(shard.requests) - len(rows)
            stopped = _why_stop(rows[-1], alarm) if stop and left else ""
            if stopped:
                break
    job = shard.rows.job.model_dump_json()
    made = rows, combine_deltas(accepted), job, ready.measured_with
    known = stopped, ready.notes, ready.scale, ready.rule
    return Guarded(*made, *known, requests[len(rows) :])


def _why_stop(row: dict[str, Any], alarm: Alarm) -> str:
    """Why no further edit should be tried after that of the row; empty if one should."""
    return alarm.seen(row) if row["accepted"] else "the last one was refused"


def _row(row: dict[str, Any], step: int, *, accepted: bool) -> dict[str, Any]:
    """The columns of the table; those that were not measured are None."""
    status = row["status"] if accepted else f"{REFUSED}{row['status']}"
    return {name: row.get(name) for name in GUARD.names} | {
        "step": step,
        "accepted": accepted,
        "status": status,
    }


def _objection(rule: CollapseSection, harm: Harm, row: dict[str, Any]) -> str:
    """Why the edit is refused; empty if it is accepted. The row gets its grade."""
    row["grade"] = judge(row["perplexity"], row["perplexity_base"], rule, row["top1_kept"]).grade
    return objection(row, rule, harm)


def page(guarded: Guarded) -> str:
    """The outcome as text: one line per edit, with the reason of each refusal.

    Below an accepted edit are the edits that it endangers, and once, what foretells that further
    ones will collapse the model.
    """
    lines, alarm, seen = [*guarded.notes], shipped(), ""
    facts = {row["case_id"]: fact_of(row) for row in guarded.rows}
    for row in guarded.rows:
        if row["accepted"]:
            remarks = [f"perplexity {times(row['perplexity_ratio'])}"]
            remarks += ["damaged"] if row["grade"] == DAMAGED else []
            remarks += [] if row["took"] else ["without effect"]
            lines.append(f"  ok       {fact_of(row)} ({', '.join(remarks)})")
            if not seen and (seen := alarm.seen(row)):
                lines.append(f"           warning: {seen}")
            lost = json.loads(row["endangers"] or "[]")
            lines += [f"           endangers: {facts[case]}" for case in lost]
        else:
            lines.append(f"  refused  {fact_of(row)}\n           {reason_of(row)}")
    accepted = [row for row in guarded.rows if row["accepted"]]
    lines += ["", f"{len(accepted)} of {len(guarded.rows)} edits accepted."]
    if guarded.stopped:
        lines.append(f"No further edits were tried, because {guarded.stopped}.")
    if accepted and (as_much := in_words(accepted[-1]["kl_mean"], guarded.scale)):
        lines.append(f"Together, they disturb the model {as_much}.")
    return "\n".join([*lines, str(guarded.measured_with)])


def fact_of(row: Mapping[str, Any]) -> str:
    """The fact of an edit's row in words; its number if the record could not be read."""
    if not row["prompt"]:
        return f"case {row['case_id']}"
    return f"{row['prompt'].replace('{}', row['subject'])} → {row['target_new']}"


def reason_of(row: Mapping[str, Any]) -> str:
    """Why a refused edit was refused."""
    return str(row["status"]).removeprefix(REFUSED)
