"""Sequential editing: one sequence of edits, measured as it grows.

As in "The Butterfly Effect of Model Editing", §5, but with any order, length and editor.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.collapse.objection import objection
from editcore.collapse.verdict import judge
from editcore.editing.diagnostics import as_json
from editcore.editing.editor import EditResult
from editcore.editing.session import Session
from editcore.editing.transforms import BoundTransform
from editcore.evaluation.metrics import number
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import SequenceJob
from editcore.progress import progress_bar
from editcore.records.provenance import as_metadata, of_job
from editcore.records.schemas import SEQUENCES, STOPPED, WARNED
from editcore.records.stored_precision import stored_precision
from editcore.records.tables import write_table
from editcore.registry.registry import Registry, load_registry
from editcore.requests import OK, EditRequest
from editcore.runs.baseline import Baseline, disturbance_columns
from editcore.runs.cases import chat_of, posed_cases
from editcore.runs.sequence.arrangement import arranged
from editcore.runs.sequence.checkpoint import Resumed, SequenceProgress
from editcore.runs.sequence.restraint import restrained
from editcore.runs.sequence.retention import Retention
from editcore.runs.sequence.state import SequenceState
from editcore.runs.sequence.telemetry.telemetry import Telemetry
from editcore.updates import cumulative_delta
from editcore.updates.cumulative_delta import CumulativeDelta, accumulating
from editcore.updates.patch import Patch

if TYPE_CHECKING:
    from editcore.runs.sequence.task_scores import TaskScores

Row = dict[str, Any]


def run(job: SequenceJob, out: Path, changes_out: Path, registry: Registry | None = None) -> None:
    """Carry out a job: a row per step to `out`, all changes to `changes_out`.

    `out` is Parquet and `changes_out` safetensors. An interrupted run resumes from its last
    checkpoint, a file next to `out` that is deleted once both are written.
    """
    sequence = SequenceRun.open(job, registry or load_registry())
    session = sequence.session
    kept = SequenceProgress.beside(out, job, session.artefacts)
    with accumulating(session.context.model) as changes:
        rows = _rows(sequence, changes, kept)
        prefixes = session.context.prefixes
        made = {
            "artefacts": session.artefacts,
            "prefixes_hash": prefixes.hash if prefixes else None,
        }
        tasks = {"tasks": sequence.task_scores.suite.versions} if sequence.task_scores else {}
        about = of_job(job, **made, **tasks, **chat_of(session.context.model))
        cumulative_delta.save(changes, changes_out, as_metadata(about))
    write_table(out, rows, SEQUENCES, about)
    kept.remove()


def _rows(sequence: "SequenceRun", changes: CumulativeDelta, kept: SequenceProgress) -> list[Row]:
    """The rows of a checkpoint, if there is one, and those of the steps after it."""
    job, editor, context = sequence.job, sequence.session.editor, sequence.session.context
    first = sequence.unedited_row()
    resumed = kept.resume(changes, first)
    state = editor.load_state(context, resumed.state) if resumed else editor.start(context)
    rows = resumed.rows if resumed else [first]
    current = SequenceState(changes, state)
    if resumed:
        current.patch, current.keys = editor.patch_of(context, state), resumed.keys
    changes_weights = sequence.session.info.capabilities.changes_weights
    title = f"{job.model.name} {job.editor.label} {job.dataset.name} {job.order}"
    total = len(sequence.batches)
    with progress_bar(total=total, initial=len(rows) - 1, title=title, unit="edit") as bar:
        for step in range(len(rows), total + 1):
            rows.append(sequence.step(current, step, rows))
            bar.update()
            if rows[-1]["status"] == STOPPED or rows[-1]["status"].startswith(WARNED):
                break
            if step == total or step % job.checkpoint:
                continue
            # A patch cannot be saved; its sequence resumes if the state gives the patch again.
            if changes_weights or editor.patch_of(context, current.state) is not None:
                kept.write(changes, Resumed(rows, editor.save_state(current.state), current.keys))
    return rows


@dataclass(frozen=True)
class SequenceRun:
    """What all steps of a sequence share; the facts of step i are `batches[i - 1]`.

    `together` are the transforms of all edits' change, which only the measurements see.
    """

    job: SequenceJob
    session: Session
    batches: Sequence[Sequence[EditRequest]]
    unedited: Perplexity
    edited: EditedPerplexity
    retention: Retention
    telemetry: Telemetry
    stored_as: str | None
    task_scores: "TaskScores | None" = None
    together: Sequence[BoundTransform] = ()

    @classmethod
    def open(cls, job: SequenceJob, registry: Registry) -> "SequenceRun":
        """Load model, artefacts, plugins and data, and measure the unedited model."""
        baseline = Baseline.open(job, registry)
        whole, model = baseline.session, baseline.model
        session = replace(whole, transforms=[t for t in whole.transforms if not t.accumulated])
        together = [transform for transform in whole.transforms if transform.accumulated]
        requests = posed_cases(model, job.dataset, job.case_ids, registry)
        layers = session.editor.config.edited_layers()
        requests = arranged(requests, job.arrangement, model, layers)
        batches = [requests[i : i + job.batch] for i in range(0, len(requests), job.batch)]
        templates = session.context.prefixes
        drawn = {
            r.case_id: templates.for_tests(job.seed, r.case_id)[0] for r in requests if templates
        }
        retention = Retention.before(model, requests, drawn)
        telemetry = Telemetry.of(model, job.telemetry, baseline.edited.texts, layers)
        measured = baseline.unedited, baseline.edited, retention, telemetry
        stored = stored_precision(job.model.source, job.model.revision)
        return cls(job, session, batches, *measured, stored, _task_scores(job, model), together)

    def unedited_row(self) -> Row:
        """The row of step 0."""
        row = self._identity(0) | self._perplexity(self.unedited) | {"status": OK, "made": False}
        return row | self._scores(None)

    def step(self, current: SequenceState, step: int, rows: Sequence[Row]) -> Row:
        """Edit the next facts, and measure what is due.

        A fact that cannot be edited is in `failed` with the reason, and the others of its step are
        edited without it. If none is left, `status` is the reason, and weights and state stay as
        they are; so do they, and the measurements, if the job ends before harm that this step does.
        """
        started = time.perf_counter()
        row = self._identity(step)
        result, failed = self._edit(self.batches[step - 1], current.state)
        row["failed"] = json.dumps(failed) if failed else None
        take_back = None
        if result.change is not None and result.status == OK:
            take_back = self._take(current, result)
            facts = [r for r in self.batches[step - 1] if r.case_id not in failed]
            self.telemetry.note(current.keys, current.changes, facts)
        row |= {"status": result.status, "seconds_editing": time.perf_counter() - started}
        row |= _known(result)
        reported = result.diagnostics if row["made"] else {}
        unmeasured = dict(row)
        self._fill(row, current, rows, reported, last=step == len(self.batches))
        if take_back and (harm := self._harm(row)):
            take_back()
            row = unmeasured | {"made": False}
            self._fill(row, current, rows, reported, last=True)
            row["status"] = f"{WARNED}taken back, since {harm}"
        row["seconds"] = time.perf_counter() - started
        return row

    def _take(self, current: SequenceState, result: EditResult) -> Callable[[], None] | None:
        """Add an edit; what takes it back, if the job may ask for that."""
        if self.job.stop_before:
            return current.try_out(result)
        current.take(result)
        return None

    def _fill(
        self,
        row: Row,
        current: SequenceState,
        rows: Sequence[Row],
        reported: Mapping[str, float],
        *,
        last: bool,
    ) -> None:
        """Add the measurements that are due, under the transforms of all edits' change."""
        checks = (*self.job.checks, *self.job.task_checks)
        before, now = rows[-1]["edits"], row["edits"]
        due = last or self._measures(before, now) or _between(before, now, checks)
        together, model = self.together if due else (), self.session.context.model
        with restrained(current.changes, model, together, reported) as diagnostics:
            self._measured(row, current, rows, last=last)
        row["diagnostics"] = as_json(diagnostics, ("denominator",))

    def _measured(
        self, row: Row, current: SequenceState, rows: Sequence[Row], *, last: bool
    ) -> None:
        """Measure the model as it is, and ask and score it if that is due or the sequence ends."""
        before, now = rows[-1]["edits"], row["edits"]
        if last or self._measures(before, now):
            row |= self._perplexity(self._measure(current))
            row["accumulated_norm"] = current.changes.norm()
            row |= self.telemetry.now(current.changes, current.keys, current.patch)
        if self._stops(row):
            row["status"], last = STOPPED, True
        elif self.job.alarm and (seen := self.job.alarm.seen(row)):
            row["status"], last = f"{WARNED}{seen}", True
        if last or _between(before, now, self.job.checks):
            retained = self.retention.now(self._made([*rows, row]), current.patch)
            facts = [fact.case_id for batch in self.batches[: row["step"]] for fact in batch]
            row |= retained.columns
            row["efficacy_by_fact"] = json.dumps([retained.by_fact.get(fact) for fact in facts])
        if last or _between(before, now, self.job.task_checks):
            row |= self._scores(current.patch)

    def _edit(
        self, requests: Sequence[EditRequest], state: Any
    ) -> tuple[EditResult, dict[int, str]]:
        """The edit of those facts that can be edited, and why others cannot, by case.

        If an editor refuses several facts together, each is tried alone, on the model as it is, to
        find those at fault.
        """
        unfit = self.retention.unfit
        failed = {r.case_id: unfit[r.case_id] for r in requests if r.case_id in unfit}
        fit = [request for request in requests if request.case_id not in unfit]
        result = self.session.edit(fit, state) if fit else None
        if result and result.status != OK and len(fit) > 1:
            alone = {r.case_id: self.session.edit([r], state).status for r in fit}
            failed |= {case: status for case, status in alone.items() if status != OK}
            left = [request for request in fit if request.case_id not in failed]
            result = self.session.edit(left, state) if 0 < len(left) < len(fit) else result
        if result is None or result.status != OK:
            reason = result.status if result else failed[requests[0].case_id]
            every = {r.case_id: failed.get(r.case_id, reason) for r in requests}
            return EditResult(status=reason), every
        return result, failed

    def _measures(self, before: int, now: int) -> bool:
        """Whether perplexity is due after a step that brought the edits from `before` to `now`."""
        if self.job.stop_before:
            return True
        return now <= self.job.closely or _passes(before, now, self.job.every)

    def _stops(self, row: Row) -> bool:
        """Whether the job's stop rule ends the sequence at this row."""
        rule, perplexity = self.job.stop_rule, row.get("perplexity")
        if rule is None or perplexity is None:
            return False
        return judge(perplexity, self.unedited.mean, rule).collapsed

    def _harm(self, row: Row) -> str:
        """What the row's step did to the model that the job wants to end before; or nothing."""
        rule, harm = self.job.stop_rule, self.job.stop_before
        return objection(row, rule, harm) if rule and harm else ""

    def _measure(self, current: SequenceState) -> Perplexity:
        if current.patch is not None:
            return self.edited.of([current.patch])[0]
        if not current.changes.parameters:
            return self.unedited
        return self.edited.now(current.changes.first_block())

    def _scores(self, patch: Patch | None) -> Row:
        return self.task_scores.now(patch) if self.task_scores else {}

    def _made(self, rows: Sequence[Row]) -> list[int]:
        """The cases whose edit was made."""
        made = [(self.batches[row["step"] - 1], row.get("failed")) for row in rows if row["made"]]
        return [
            request.case_id
            for batch, failed in made
            for request in batch
            if str(request.case_id) not in json.loads(failed or "{}")
        ]

    def _identity(self, step: int) -> Row:
        job = self.job
        return {
            "model": job.model.name,
            "editor": job.editor.label,
            "dataset": job.dataset.name,
            "batch": job.batch,
            "order": job.order,
            "arrangement": job.arrangement,
            "step": step,
            "edits": sum(map(len, self.batches[:step])),
            "case_id": self.batches[step - 1][0].case_id if step else None,
            "seed": job.seed,
            "stored_as": self.stored_as,
        }

    def _perplexity(self, now: Perplexity) -> Row:
        base = self.unedited.mean
        return {
            "perplexity": now.mean,
            "perplexity_base": base,
            "perplexity_ratio": now.mean / base,
            "nonfinite_tokens": int(now.nonfinite.sum()),
        } | disturbance_columns(now.disturbance)


def _task_scores(job: SequenceJob, model: LoadedModel) -> "TaskScores | None":
    if not job.tasks:
        return None
    from editcore.runs.sequence.task_scores import (
        TaskScores,  # imported late: lm-eval, which sequences without tasks do not need
    )

    return TaskScores.of(model, job)


def _known(result: EditResult) -> Row:
    """The columns that are known of an edit before the model is measured."""
    if result.change is None or result.status != OK:
        return {"made": False}
    denominator = number("denominator", result.diagnostics.get("denominator"))
    return {"made": True, "delta_norm": result.change.norm(), "denominator": denominator}


def _between(before: int, now: int, checks: Sequence[int]) -> bool:
    """Whether one of the checks is after `before`, up to `now`."""
    return any(before < check <= now for check in checks)


def _passes(before: int, now: int, every: int) -> bool:
    """Whether there is a multiple of `every` after `before`, up to `now`.

    >>> [_passes(a, b, 10) for a, b in ((8, 9), (9, 10), (8, 24))]
    [False, True, True]
    """
    return now // every > before // every
