"""Edits as rows of the results: what identifies each, and the measurements of its edited model."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from editcore.collapse.exposure import Exposure
from editcore.collapse.output_change import OutputChange
from editcore.collapse.predictor import ActivationShift
from editcore.collapse.running_text import RunningText
from editcore.collapse.sample import Sample
from editcore.editing import diagnostics
from editcore.editing.editor import Editor, EditResult, refuse_undeclared
from editcore.errors import PluginError, in_one_line
from editcore.evaluation import effect
from editcore.evaluation.free_answers import share_naming
from editcore.evaluation.generation import edited_answers, unedited_answers
from editcore.evaluation.metrics import MetricInput, NamedMetric, number
from editcore.evaluation.metrics.posed import Posed
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity
from editcore.evaluation.teacher_forcing import Answers, CaseQuestions, ask_edited
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.models import memory
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import tokenize_prompt
from editcore.planning.jobs import EditJob
from editcore.records.stored_precision import stored_precision
from editcore.requests import OK, SLOT, EditRequest
from editcore.runs.baseline import Baseline, disturbance_columns
from editcore.updates.change import Change
from editcore.updates.delta import Delta

Row = dict[str, Any]


@dataclass(frozen=True)
class MadeEdit:
    """A request, its edit, and the seconds that making it took."""

    request: EditRequest
    result: EditResult
    seconds: float


@dataclass(frozen=True)
class _Sound:
    """An edit that can be measured, and its case's questions."""

    row: Row
    change: Change
    posed: Posed

    @property
    def questions(self) -> CaseQuestions:
        """What its questions are for."""
        return self.posed.questions


@dataclass(frozen=True)
class Rows:
    """Turns edits of one model into rows, many edits measured together."""

    job: EditJob
    model: LoadedModel
    prefixes: ContextPrefixes | None
    metrics: Sequence[NamedMetric]
    unedited: Perplexity
    edited: EditedPerplexity
    editor: Editor[Any]
    seconds_beforehand: float
    shift: ActivationShift
    output_change: OutputChange
    exposure: Exposure
    sample: Sample | None
    stored_as: str | None
    _weight_norms: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, job: EditJob, baseline: Baseline, metrics: Sequence[NamedMetric]) -> "Rows":
        """What turns a job's edits into rows, which compare them with the unedited model."""
        context = baseline.session.context
        text = RunningText(context.model, baseline.edited.texts.batches)
        return cls(
            job,
            context.model,
            context.prefixes,
            metrics,
            baseline.unedited,
            baseline.edited,
            baseline.session.editor,
            sum(stored.seconds for stored in context.values.values()),
            ActivationShift(context.model, context.moments),
            OutputChange(text),
            Exposure(text),
            Sample.of(context.model, job.perplexity) if job.forecasts else None,
            stored_precision(job.model.source, job.model.revision),
        )

    def of(self, edits: Sequence[MadeEdit]) -> list[Row]:
        """The rows of some edits, in their order.

        If a case fails, `status` is the reason, and its columns of measurements are empty.
        """
        started = time.perf_counter()
        rows = [self._identity(edit) for edit in edits]
        sound = [
            found
            for row, edit in zip(rows, edits, strict=True)
            if (found := self._sound(row, edit))
        ]
        self._measure(sound)
        share = (time.perf_counter() - started) / len(edits)
        for row, edit in zip(rows, edits, strict=True):
            row["seconds"] = edit.seconds + share
            beforehand = 0.0 if edit.request.further else self.seconds_beforehand
            row["seconds_editing"] = edit.seconds + beforehand
            row["peak_memory"] = memory.peak_bytes(self.model.device)
        return rows

    def _identity(self, edit: MadeEdit) -> Row:
        job, request, result = self.job, edit.request, edit.result
        return {
            "model": job.model.name,
            "editor": job.editor.label,
            "dataset": job.dataset.name,
            "case_id": request.case_id,
            "subject": request.subject,
            "prompt": request.turn.said(request.prompt),
            "chat_template": self.model.turn.hash,
            "target_new": request.target_new,
            "target_true": request.target_true,
            "relation": request.relation,
            "facts": len(request.facts),
            "subject_start": request.subject_start,
            "test_prefix": self._test_prefixes(request)[0],
            "status": result.status,
            "key_strategy": result.key_strategy,
            "second_moment": result.second_moment,
            "seed": job.seed,
            "dtype": job.model.dtype,
            "precision": job.model.precision,
            "stored_as": self.stored_as,
            "prefixes_hash": self.prefixes.hash if self.prefixes else "",
        }

    def posed(self, request: EditRequest) -> Posed:
        """The questions of a case for its metrics; `RequestError` if the model cannot take them."""
        first, *further = self._test_prefixes(request)
        return Posed.to(self.model, CaseQuestions(request, first, tuple(further)), self.metrics)

    def _test_prefixes(self, request: EditRequest) -> tuple[str, ...]:
        templates = self.prefixes
        return templates.for_tests(self.job.seed, request.case_id) if templates else (SLOT,)

    def _sound(self, row: Row, edit: MadeEdit) -> _Sound | None:
        """Fill the row with what is known of the edit; None if it cannot be measured."""
        request, result = edit.request, edit.result
        if request.flaw:
            return None
        try:
            if request.names_subject:
                place = tokenize_prompt(self.model.tokenizer, request.prompt, request.subject)
                row |= {"subject_tokens": place.subject_tokens, "subject_position": place.subject}
            if (change := result.change) is None or result.status != OK:
                return None
            change.check(self.model.model)
            refuse_undeclared(self.job.editor.uses, self.editor.config, self.model.parts, change)
            posed = self.posed(request)
            row |= self._known(result) | {"delta_norm": change.norm()}
            row["change_bytes"] = self._size(change, result.state)
        except Exception as error:  # a third party's change may be anything
            row["status"] = in_one_line(error)
            return None
        row["weight_norm"] = self._weight_norm(change) if isinstance(change, Delta) else None
        row |= self._predictors(change, row["denominator"])
        return _Sound(row, change, posed)

    def _known(self, result: EditResult) -> Row:
        """The diagnostics that have columns, and the others as JSON."""
        known = diagnostics.IN_COLUMNS
        found: Row = {name: number(name, result.diagnostics.get(name)) for name in known}
        steps = found["steps"]
        found["steps"] = None if steps is None else int(steps)
        return found | {"diagnostics": diagnostics.as_json(result.diagnostics, known)}

    def _size(self, change: Change, state: Any) -> int | None:
        """The bytes of a weight change, or of the state of an editor of patches.

        None for a state that the editor cannot save.
        """
        if (size := change.size()) is not None:
            return size
        try:
            return sum(tensor.nbytes for tensor in self.editor.save_state(state).values())
        except PluginError:
            return None

    def _predictors(self, change: Change, denominator: float | None) -> Row:
        """What predicts harm, known before any weight changes; None for a patch."""
        if not isinstance(change, Delta):
            return {"exposure": None, "warning": None, "output_change": None}
        return {
            "exposure": self.exposure.of(change, denominator),
            "warning": self.shift.of(change),
            "output_change": self.output_change.of(change),
        }

    def _weight_norm(self, delta: Delta) -> float:
        """The Frobenius norm of the unedited parameters that the delta changes."""
        for name in delta.updates:
            if name not in self._weight_norms:
                parameter = self.model.model.get_parameter(name)
                self._weight_norms[name] = float(parameter.double().norm())
        return math.hypot(*(self._weight_norms[name] for name in delta.updates))

    def _measure(self, sound: Sequence[_Sound]) -> None:
        """Complete the rows: all weight changes in shared passes, each patch in passes of its own.

        If a shared pass raises an error, each edit is measured alone, so that only the faulty one
        fails. Patches run third parties' code in the model, so they are always alone.
        """
        deltas = [each for each in sound if isinstance(each.change, Delta)]
        alone = [each for each in sound if not isinstance(each.change, Delta)]
        try:
            self._measure_together(deltas)
        except Exception:  # whatever one edit's texts or numbers may cause
            alone = list(sound)
        for each in alone:
            try:
                self._measure_together([each])
            except Exception as error:  # the same, or anything that a patch may raise
                each.row["status"] = in_one_line(error)

    def _measure_together(self, sound: Sequence[_Sound]) -> None:
        """Ask the edited models and measure their perplexity, in as few passes as possible."""
        changes = [each.change for each in sound]
        answers = ask_edited(self.model, [each.posed.tokens for each in sound], changes)
        perplexities = self.edited.of(changes)
        effects = self.sample.effects(changes) if self.sample else [None] * len(changes)
        texts = self._continuations(sound, changes)
        for each, (before, after), found, sampled, text in zip(
            sound, answers, perplexities, effects, texts, strict=True
        ):
            each.row.update(self.perplexity_columns(found) | text)
            if sampled:
                each.row.update(sample_changed=sampled.changed, sample_ratio=sampled.ratio)
            each.row.update(self._metric_columns(each, before, after))
            each.row["known"] = each.questions.known(before)
            each.row["took"] = effect.took(each.row) if effect.asked(each.row) else None

    def _continuations(self, sound: Sequence[_Sound], changes: Sequence[Change]) -> list[Row]:
        """What models write after each case's prompts, and whether it names the new object."""
        tokens = self.job.continuation_tokens
        if not tokens:
            return [{} for _ in sound]
        bare = [each.questions.request.text for each in sound]
        base = unedited_answers(self.model, bare, tokens)
        prompts = [
            [prompt, *each.questions.prefixed_texts]
            for prompt, each in zip(bare, sound, strict=True)
        ]
        answers = edited_answers(self.model, prompts, changes, tokens)
        texts = [[answer.text for answer in own] for own in answers]
        return [
            {
                "continuation_base": before.text,
                "continuation": after,
                "efficacy_free": share_naming([after], each.questions.request.target_new),
                "efficacy_free_prefixed": share_naming(
                    after_prefixes, each.questions.request.target_new
                ),
            }
            for each, before, (after, *after_prefixes) in zip(sound, base, texts, strict=True)
        ]

    def _metric_columns(self, case: _Sound, before: Answers, after: Answers) -> Row:
        @contextmanager
        def edited() -> Iterator[LoadedModel]:
            with case.change.applied(self.model.model):
                yield self.model

        given = MetricInput(case.questions, before, after, edited)
        return self.scores(given, case.posed.unasked)

    def scores(self, given: MetricInput, unasked: Mapping[str, str]) -> Row:
        """The metrics' columns for one edit; if one of them failed, `status` is the reason.

        `unasked` has the reasons for the metrics whose questions could not be asked, by name.
        """
        columns: Row = {}
        for metric in self.metrics:
            if reason := unasked.get(metric.info.name):
                columns["status"] = reason
                continue
            try:
                columns |= metric(given)
            except PluginError as error:
                columns["status"] = str(error)
        return columns

    def perplexity_columns(self, edited: Perplexity) -> Row:
        """The columns of an edited model's perplexity, with the unedited one's."""
        unedited = self.unedited
        return {
            "perplexity": edited.mean,
            "perplexity_base": unedited.mean,
            "perplexity_ratio": edited.mean / unedited.mean,
            "perplexity_corpus": edited.corpus,
            "nll_sum": float(edited.nll.sum()),
            "token_count": int(edited.tokens.sum()),
            "nonfinite_tokens": int(edited.nonfinite.sum()),
        } | disturbance_columns(edited.disturbance)
