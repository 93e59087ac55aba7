"""The work of each job of a study, in floating-point operations.

A rough count: it leaves out attention, generation with a cache, and everything that is not a matrix
product. `speed.py` has what a machine takes for it, fitted on a finished study.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from editcore.datasets.readers import read_texts
from editcore.planning.feasibility.model_size import ModelSize, model_size
from editcore.planning.jobs import EditJob, EditorJob, PerplexitySpec, SequenceJob, ValueJob
from editcore.planning.study import Study

CHARACTERS = 4  # of a token
PROMPT = 10  # tokens of a prompt with its target
QUESTIONS = 40  # prompts that a case's metrics ask of an edited model
SAMPLE = 1024  # tokens of the sample that forecasts read
ITEM = 50  # tokens of an item of a task
BACKWARD = 3  # a forward and a backward pass, in forward passes


@dataclass(frozen=True)
class JobWork:
    """One job: its rule, its model's label, whether it runs on a GPU, and its operations."""

    rule: str
    model: str
    gpu: bool
    operations: float


def study_work(study: Study) -> list[JobWork]:
    """The work of all jobs with models whose configuration is on this machine."""
    return list(_Counter(study).all())


class _Counter:
    """Counts the operations of one study's jobs."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._sizes = {name: model_size(job.model) for name, job in study.prefixes.items()}
        self._tokens: dict[PerplexitySpec, float] = {}

    def all(self) -> Iterator[JobWork]:
        """Every job with its work."""
        for rule, model, operations in self._counted():
            yield JobWork(rule, model, bool(self._study.gpus(model)), operations)

    def _counted(self) -> Iterator[tuple[str, str, float]]:
        study = self._study
        for name, size in self._sizes.items():
            if size is None:
                continue
            yield "prefixes", name, size.forward(self._templates * PROMPT)
            if name in study.rounding:
                texts = self._text_tokens(study.rounding[name].perplexity)
                yield "rounding", name, 3 * size.forward(texts)
            for key, moments in study.moments.items():
                if key.model == name and moments.texts is not None:
                    share = (max(moments.layers) + 1) / size.layers
                    yield "moments", name, size.forward(moments.texts.tokens, share, head=False)
            for texts_key, texts_job in study.texts.items():
                if texts_key.model == name:
                    yield "texts", name, size.forward(texts_job.tokens)
            for value_key, values in study.values.items():
                if value_key.model == name:
                    yield "values", name, self._values(values, size)
            for shard_key, edits in study.edits.items():
                if shard_key.model == name:
                    yield "edit", name, self._edits(edits, size)
            for sequence_key, sequence in study.sequences.items():
                if sequence_key.model == name:
                    yield "sequence", name, self._sequence(sequence, size)
            yield from self._late(name, size)

    def _late(self, name: str, size: ModelSize) -> Iterator[tuple[str, str, float]]:
        """The stages after the edits."""
        study = self._study
        if job := study.downstream.get(name):
            items = len(job.tasks) * (job.limit or QUESTIONS)
            models = job.count + job.top + 1
            yield "downstream", name, size.forward(models * items * ITEM)
        if survival := study.survival.get(name):
            edited = survival.cases * len(survival.edits) * len(survival.treatments)
            read = self._text_tokens(survival.perplexity) + PROMPT * QUESTIONS
            yield "survive", name, size.forward(edited * read)
        if layers := study.layers.get(name):
            subjects = sum(len(each.case_ids) for each in layers.sets)
            yield "layers", name, size.forward(subjects * self._templates * PROMPT, head=False)
        if mechanism := study.mechanism.get(name):
            cases = len(mechanism.hard_cases.case_ids) + len(mechanism.normal_cases.case_ids)
            read = cases * (self._templates * PROMPT + self._text_tokens(mechanism.perplexity))
            yield "mechanism", name, size.forward(read + mechanism.texts.tokens)

    @cached_property
    def _templates(self) -> int:
        """The number of templates: the bare prompt and each prefix."""
        return 1 + sum(number for _, number in self._study.config.prefixes.lengths)

    def _text_tokens(self, texts: PerplexitySpec) -> float:
        if texts not in self._tokens:
            characters = sum(map(len, read_texts(texts.path, texts.texts)))
            self._tokens[texts] = characters / CHARACTERS
        return self._tokens[texts]

    def _values(self, job: ValueJob, size: ModelSize) -> float:
        steps = len(job.case_ids) * job.options.steps * self._templates
        share = size.after(job.options.layer)
        return BACKWARD * size.forward(steps * PROMPT, share, head=False)

    def _edits(self, job: EditJob, size: ModelSize) -> float:
        cases = len(job.case_ids)
        each = self._text_tokens(job.perplexity) + QUESTIONS * PROMPT + job.forecasts * SAMPLE
        read = cases * each
        if choice := job.answers:
            asked = cases if job.asked is None else len(job.asked)
            questions = asked * (1 + 3 * (choice.prompts or 5))
            read += len(choice.contexts) * questions * (PROMPT + choice.tokens)
        share = size.after(_layer(job.editor.options))
        own = 0.0 if job.values else cases * self._own_steps(job, size)
        return size.forward(read, share) + own

    def _sequence(self, job: SequenceJob, size: ModelSize) -> float:
        edits = len(job.case_ids)
        share = size.after(_layer(job.editor.options))
        search = self._templates if job.prefixes else 1
        own = edits * search * self._own_steps(job, size)
        measured = edits / (1 if job.stop_before else job.every) + job.closely
        checked = sum(check for check in (*job.checks, edits) if check <= edits) * QUESTIONS
        tasks = len(job.tasks) * (job.task_items or QUESTIONS) * ITEM * (2 + len(job.task_checks))
        read = measured * self._text_tokens(job.perplexity) + checked * PROMPT
        return own + size.forward(read, share) + size.forward(tasks)

    def _own_steps(self, job: EditorJob, size: ModelSize) -> float:
        """The operations of an editor's own optimisation of one prompt, if it has steps."""
        steps = job.editor.options.get("steps", 1)
        steps = steps if isinstance(steps, int) and job.trained is None else 1
        share = size.after(_layer(job.editor.options))
        return BACKWARD * size.forward(steps * PROMPT, share)


def _layer(options: dict[str, Any]) -> int:
    """The first layer that an editor's options name; 0 if none."""
    layers = options.get("layers")
    first = min(layers) if isinstance(layers, list | tuple) and layers else options.get("layer")
    return first if isinstance(first, int) else 0
