"""One shard of single edits: each case edited from the unedited model, measured, and reverted."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from editcore.editing.editor import EditResult
from editcore.editing.session import Session
from editcore.errors import ConfigError, in_one_line
from editcore.evaluation.metrics import bind
from editcore.planning.jobs import EditJob
from editcore.progress import progress_bar
from editcore.records.answer_schemas import ANSWERS
from editcore.records.provenance import as_metadata, of_job
from editcore.records.schemas import EDITS, OWN_COLUMNS
from editcore.records.tables import write_table
from editcore.registry.registry import Registry, load_registry
from editcore.requests import OK, EditRequest
from editcore.runs import several_facts
from editcore.runs.baseline import Baseline
from editcore.runs.cases import chat_of, posed_cases
from editcore.runs.edit_rows import MadeEdit, Row, Rows
from editcore.runs.free_answers import FreeAnswers
from editcore.updates.delta import Delta, save_deltas

# Edits that are measured together; enough to fill forward passes of small models.
TOGETHER = 32


def run(job: EditJob, out: Path, deltas_out: Path, answers_out: Path | None = None) -> None:
    """Carry out a job: rows to `out` (Parquet), weight changes to `deltas_out` (safetensors).

    Patches are measured, but not saved. If the job asks for free answers, they are written to
    `answers_out` (Parquet). Raises `ConfigError` if one of the two is missing.
    """
    _require_both(job, answers_out)
    shard = Shard.open(job)
    rows: list[Row] = []
    answers: list[Row] = []
    changes: dict[int, Delta] = {}
    with progress_bar(total=len(shard.requests), title=_title(job), unit="edit") as bar:
        results = shard.results()
        while edits := list(islice(results, TOGETHER)):
            made = shard.rows.of(edits)
            answers += shard.ask_freely(made, edits)
            changes |= {
                edit.request.case_id: edit.result.delta
                for row, edit in zip(made, edits, strict=True)
                if edit.result.delta is not None and row["status"] == OK
            }
            rows += made
            bar.update(len(edits))
    session = shard.session
    prefixes = session.context.prefixes
    prefixes_hash = prefixes.hash if prefixes else None
    read = {"prefixes_hash": prefixes_hash, "artefacts": session.artefacts}
    about = of_job(job, **read, **chat_of(session.context.model))
    save_deltas(changes, deltas_out, as_metadata(about))
    write_table(out, rows, EDITS, about)
    if answers_out is not None:
        write_table(answers_out, answers, ANSWERS, about)


def _require_both(job: EditJob, answers_out: Path | None) -> None:
    if job.answers and answers_out is None:
        raise ConfigError("the job asks for free answers; name their file with --answers")
    if answers_out is not None and not job.answers:
        raise ConfigError("the job asks for no free answers; leave --answers out")


def _title(job: EditJob) -> str:
    return f"{job.model.name} {job.editor.label} {job.dataset.name} {job.shard:03d}"


@dataclass(frozen=True)
class Shard:
    """Everything that the cases of one shard share, loaded once."""

    session: Session
    requests: Sequence[EditRequest]
    rows: Rows
    free: FreeAnswers | None = None

    @classmethod
    def open(cls, job: EditJob, registry: Registry | None = None) -> "Shard":
        """Load model, artefacts and data; `EditcoreError` if any of them is missing.

        The default registry is that of the installed plugins.
        """
        registry = load_registry() if registry is None else registry
        baseline = Baseline.open(job, registry)
        rows = Rows.open(job, baseline, bind(job.metrics, registry, OWN_COLUMNS))
        requests = posed_cases(baseline.model, job.dataset, job.case_ids, registry)
        for planned in baseline.session.context.values.values():
            planned.require(each.case_id for each in requests if not each.further)
        free = FreeAnswers.of_job(job, baseline.model)
        return cls(baseline.session, requests, rows, free)

    def ask_freely(self, rows: Sequence[Row], edits: Sequence[MadeEdit]) -> list[Row]:
        """What the edited models answer that the job asks; those that failed are not asked.

        If a model cannot be asked, its row's `status` becomes the reason.
        """
        if self.free is None:
            return []
        sound = [
            (row, edit.request, edit.result.change)
            for row, edit in zip(rows, edits, strict=True)
            if row["status"] == OK
            and edit.result.change is not None
            and self.free.asks(edit.request)
        ]
        started = time.perf_counter()
        found = self.free.of([(request, change) for _, request, change in sound])
        share = (time.perf_counter() - started) / max(1, len(sound))
        answers: list[Row] = []
        for (row, *_), own in zip(sound, found, strict=True):
            row["seconds"] += share
            if isinstance(own, str):
                row["status"] = own
            else:
                answers += own
        return answers

    def results(self) -> Iterator[MadeEdit]:
        """Each request with its edit; those that it refuses are not passed to the editor."""
        refusals = [self._refusal(request) for request in self.requests]
        asked = [r for r, reason in zip(self.requests, refusals, strict=True) if not reason]
        made = self._made([request for request in asked if not request.further])
        for request, reason in zip(self.requests, refusals, strict=True):
            if reason:
                yield MadeEdit(request, EditResult(None, reason), 0.0)
            else:
                yield self._several(request) if request.further else next(made)

    def _refusal(self, request: EditRequest) -> str:
        if request.further:
            return several_facts.refusal(self.session, request)
        return self.session.refusal(request)

    def _several(self, case: EditRequest) -> MadeEdit:
        """The edit of a case of several facts; a failed one contains the reason."""
        started = time.perf_counter()
        try:
            result = several_facts.edit_case(self.session, case)
        except Exception as error:  # a third party's editor may raise anything
            result = EditResult(status=in_one_line(error))
        return MadeEdit(case, result, time.perf_counter() - started)

    def _made(self, requests: Sequence[EditRequest]) -> Iterator[MadeEdit]:
        """All requests together; from the editor's first exception on, one at a time.

        An editor that prepares many requests at once may raise an error without naming the one at
        fault. Alone, each request gets the result that it would get without the others.
        """
        together = self._edits(requests)
        alone = False
        for done, request in enumerate(requests, 1):
            started = time.perf_counter()
            try:
                edits = self._edits([request]) if alone else together
                result = self.session.finished(next(edits))
            except StopIteration:
                result = EditResult(
                    status="the editor stopped before this request; report this to its authors"
                )
                together = self._edits(requests[done:])
            except Exception as error:  # a third party's editor may raise anything
                failed = EditResult(status=in_one_line(error))
                result, alone = failed if alone else self._alone(request), True
            yield MadeEdit(request, result, time.perf_counter() - started)

    def _alone(self, request: EditRequest) -> EditResult:
        """The edit of one request without the others; a failed one contains the reason."""
        try:
            return self.session.finished(next(self._edits([request])))
        except Exception as error:  # a third party's editor may raise anything
            return EditResult(status=in_one_line(error))

    def _edits(self, requests: Sequence[EditRequest]) -> Iterator[EditResult]:
        yield from self.session.editor.edit_each(self.session.context, requests)
