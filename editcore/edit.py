"""One shard of single edits: each case edited from the unedited model, measured, and reverted."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from editcore import deltas, moments, perplexity, prefixes
from editcore.answers import Answers, CaseQuestions, ask
from editcore.collapse import judge
from editcore.deltas import Delta
from editcore.editors import OK, EditContext, Editor, EditResult
from editcore.errors import DataError, EditcoreError, RequestError
from editcore.jobs import EditJob
from editcore.metrics import Metric, MetricInput
from editcore.models import LoadedModel, load_spec
from editcore.perplexity import Perplexity, TokenizedTexts, UneditedStates
from editcore.plugins import Registry, load_registry, resolve
from editcore.provenance import versions
from editcore.readers import read_requests, read_texts
from editcore.requests import SLOT, EditRequest
from editcore.store import EDITS, write_table
from editcore.tokens import TokenizedPrompt, tokenize_prompt
from editcore.transforms import BoundTransform, bind, transformed

Row = dict[str, Any]


def run(job: EditJob, out: Path, deltas_out: Path) -> None:
    """Carry out a job: rows to `out` (Parquet), weight changes to `deltas_out` (safetensors)."""
    shard = Shard.open(job)
    rows: list[Row] = []
    changes: dict[int, Delta] = {}
    results = shard.results()
    for request, result, seconds in tqdm(
        results, total=len(shard.requests), desc=_title(job), unit="edit", mininterval=5
    ):
        rows.append(shard.row(request, result, seconds))
        if result.delta is not None:
            changes[request.case_id] = result.delta
    deltas.save(changes, deltas_out, {"job": job.model_dump_json()})
    write_table(out, rows, EDITS, {"job": job.model_dump(mode="json"), "versions": versions()})


def _title(job: EditJob) -> str:
    return f"{job.model.name} {job.editor.label} {job.dataset.name} {job.shard:03d}"


@dataclass(frozen=True)
class Shard:
    """Everything that the cases of one shard share, loaded once."""

    job: EditJob
    model: LoadedModel
    context: EditContext
    editor: Editor[Any]
    requests: Sequence[EditRequest]
    texts: TokenizedTexts
    unedited: Perplexity
    metrics: Sequence[Metric]
    transforms: Sequence[BoundTransform]
    states: dict[int, UneditedStates] = field(default_factory=dict)

    @classmethod
    def open(cls, job: EditJob) -> "Shard":
        """Load model, artefacts, plugins and data; any of them missing is an `EditcoreError`."""
        registry = load_registry()
        model = load_spec(job.model)
        texts = perplexity.tokenize(model, read_texts(job.perplexity.path, job.perplexity.texts))
        return cls(
            job,
            model,
            _context(job, model),
            _editor(job, registry, model),
            _requests(job),
            texts,
            _finite(job, perplexity.measure(model, texts)),
            [resolve(registry.metrics[name].record.factory) for name in job.metrics],
            bind(job.editor.transforms, registry),
        )

    def results(self) -> Iterator[tuple[EditRequest, EditResult, float]]:
        """Each request with its edit and the seconds that making it took.

        An editor that raises loses the case it was at, and goes on behind it.
        """
        done = 0
        while done < len(self.requests):
            edits = self.editor.edit_each(self.context, self.requests[done:])
            while done < len(self.requests):
                started = time.perf_counter()
                try:
                    result, broken = next(edits), False
                except Exception as error:  # a third party's editor may raise anything
                    result, broken = EditResult(None, f"{type(error).__name__}: {error}"), True
                result = transformed(result, self.transforms, self.model)
                if result.delta is not None and not result.delta.finite():
                    result = EditResult(None, "the editor gave a non-finite weight change")
                yield self.requests[done], result, time.perf_counter() - started
                done += 1
                if broken:
                    break

    def row(self, request: EditRequest, result: EditResult, seconds: float) -> Row:
        """The row of one edit; a case that fails says why in `status` and measures nothing."""
        started = time.perf_counter()
        row = self._identity(request) | {"status": result.status}
        try:
            row |= self._place(request)
            if result.delta is not None and result.status == OK:
                row |= self._measures(request, result)
        except (RequestError, EditcoreError) as error:
            row |= {"status": str(error)}
        return row | {"seconds": seconds + time.perf_counter() - started}

    def _identity(self, request: EditRequest) -> Row:
        job, options = self.job, self.editor.config
        return {
            "model": job.model.name,
            "editor": job.editor.label,
            "dataset": job.dataset.name,
            "case_id": request.case_id,
            "subject": request.subject,
            "prompt": request.prompt,
            "target_new": request.target_new,
            "target_true": request.target_true,
            "relation": request.relation,
            "subject_start": request.subject_start,
            "test_prefix": self._test_prefix(request),
            "key_strategy": getattr(options, "key_strategy", None),
            "second_moment": getattr(options, "second_moment", None),
            "seed": job.seed,
            "dtype": job.model.dtype,
            "prefixes_hash": self.context.prefixes.hash if self.context.prefixes else "",
        }

    def _test_prefix(self, request: EditRequest) -> str:
        templates = self.context.prefixes
        return templates.for_test(self.job.seed, request.case_id) if templates else SLOT

    def _place(self, request: EditRequest) -> Row:
        found: TokenizedPrompt = tokenize_prompt(
            self.model.tokenizer, request.prompt, request.subject
        )
        return {"subject_tokens": found.subject_tokens, "subject_position": found.subject}

    def _measures(self, request: EditRequest, result: EditResult) -> Row:
        """What is known of the edit, and what the edited model shows while the edit is in place."""
        assert result.delta is not None
        delta, model = result.delta, self.model
        questions = CaseQuestions(request, self._test_prefix(request))
        before = ask(model, questions.all())
        states = self._states_before(delta)
        with delta.applied(model.model):
            after = ask(model, questions.all())
            edited = perplexity.measure(model, self.texts, states)
            row = self._metric_columns(questions, before, after)
        return (
            row
            | _perplexity_columns(edited, self.unedited, self.job)
            | {
                "numerator_norm": result.diagnostics.get("numerator_norm"),
                "denominator": result.diagnostics.get("denominator"),
                "steps": result.diagnostics.get("steps"),
                "delta_norm": delta.norm(),
                "weight_norm": self._weight_norm(delta),
            }
        )

    def _states_before(self, delta: Delta) -> UneditedStates:
        """What the texts are in front of the first block that the delta changes; run once."""
        layer = self.model.layout.first_changed(delta.updates) - 1
        if layer not in self.states:
            self.states[layer] = perplexity.states_behind(self.model, layer, self.texts)
        return self.states[layer]

    def _metric_columns(self, questions: CaseQuestions, before: Answers, after: Answers) -> Row:
        given = MetricInput(self.model, questions, before, after)
        columns: Row = {}
        for metric in self.metrics:
            columns |= metric(given)
        return columns

    def _weight_norm(self, delta: Delta) -> float:
        """The Frobenius norm of the unedited parameters that the delta changes."""
        parameters = [self.model.model.get_parameter(name) for name in delta.updates]
        return math.sqrt(sum(float(p.double().norm()) ** 2 for p in parameters))


def _context(job: EditJob, model: LoadedModel) -> EditContext:
    return EditContext(
        model,
        prefixes.load(Path(job.prefixes)) if job.prefixes else None,
        {layer: moments.load(Path(path)) for layer, path in job.moments.items()},
        job.seed,
    )


def _editor(job: EditJob, registry: Registry, model: LoadedModel) -> Editor[Any]:
    info = registry.editors[job.editor.uses].record
    config = info.config.model_validate(job.editor.options)
    for layer in config.edited_layers():
        model.layout.block(layer)
    editor: Editor[Any] = resolve(info.factory)(config)
    return editor


def _requests(job: EditJob) -> list[EditRequest]:
    known = {r.case_id: r for r in read_requests(job.dataset.path, job.dataset.format)}
    if missing := [case for case in job.case_ids if case not in known]:
        raise DataError(
            f"{job.dataset.path} no longer holds case {missing[0]}; run the workflow again: "
            "it makes its jobs anew"
        )
    return [known[case] for case in job.case_ids]


def _finite(job: EditJob, unedited: Perplexity) -> Perplexity:
    if not math.isfinite(unedited.mean):
        raise DataError(
            f"the unedited model {job.model.name!r} has a perplexity of {unedited.mean} on "
            f"{job.perplexity.path}; no edit of it can be judged. Check its weights and dtype"
        )
    return unedited


def _perplexity_columns(edited: Perplexity, unedited: Perplexity, job: EditJob) -> Row:
    verdict = judge(edited.mean, unedited.mean, job.collapse)
    return {
        "perplexity": edited.mean,
        "perplexity_base": unedited.mean,
        "perplexity_ratio": edited.mean / unedited.mean,
        "perplexity_corpus": edited.corpus,
        "nll_sum": float(edited.nll.sum()),
        "token_count": int(edited.tokens.sum()),
        "nonfinite_tokens": int(edited.nonfinite.sum()),
        "collapsed": verdict.collapsed,
        "collapsed_perplexity": verdict.collapsed_perplexity,
        "collapsed_ratio": verdict.collapsed_ratio,
    }
