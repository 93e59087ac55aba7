"""Jobs of the stages after the edits: tasks, survival, keys at every layer, the mechanism."""

from typing import Annotated

from pydantic import Field

from editcore.config.section import Natural, Positive, Seed
from editcore.config.stages import Treatment
from editcore.planning.jobs import (
    DatasetCases,
    DatasetSpec,
    EditorJob,
    Job,
    ModelSpec,
    PerplexitySpec,
    TextSpec,
)


class EditFiles(Job):
    """The files of the rows and weight changes of one shard."""

    rows: str
    deltas: str


class DownstreamJob(Job):
    """Run tasks on the unedited model and some of its edited ones (`summary.task_choice`).

    Tasks use their first `limit` items; `seed` draws the examples of few-shot tasks, and `drawn`.
    """

    model: ModelSpec
    edits: tuple[EditFiles, ...]
    tasks: tuple[str, ...]
    count: Positive
    top: Natural
    up_to: float | None = None
    drawn: Natural = 0
    limit: Positive | None
    seed: Seed
    perplexity: PerplexitySpec


class EditedFacts(EditFiles):
    """The files of one shard, and the data set with the facts that were edited."""

    dataset: DatasetSpec


class TuningSpec(Job):
    """Fine-tuning on a file's texts, without the first `skipped`."""

    path: str
    skipped: Natural
    steps: Positive
    learning_rate: Annotated[float, Field(gt=0, lt=1)]


class SurvivalJob(Job):
    """Treat some edited models of one model, and measure what is left of the edits.

    `cases` are for each editor and data set. `tuning` is given if the models are fine-tuned; `seed`
    orders its texts.
    """

    model: ModelSpec
    edits: Annotated[tuple[EditedFacts, ...], Field(min_length=1)]
    treatments: Annotated[tuple[Treatment, ...], Field(min_length=1)]
    cases: Positive
    pruned_share: Annotated[float, Field(gt=0, lt=1)]
    tuning: TuningSpec | None = None
    seed: Seed
    perplexity: PerplexitySpec


class LayersJob(Job):
    """Compare the bare and the mean keys of some subjects at every layer of one model."""

    model: ModelSpec
    prefixes: str
    sets: Annotated[tuple[DatasetCases, ...], Field(min_length=1)]


class CaseSet(DatasetCases):
    """Some cases of a data set, and the file with their v*."""

    values: str


class MechanismJob(EditorJob):
    """Measure why edits collapse one model, on two sets of cases; `moments` has one layer."""

    hard_cases: CaseSet
    normal_cases: CaseSet
    texts: TextSpec
    perplexity: PerplexitySpec
    prefix_lengths: Annotated[tuple[Natural, ...], Field(min_length=1)]
    encoder: str | None = None

    @property
    def artefacts(self) -> tuple[str, ...]:
        """The files of all artefacts that the experiments read."""
        return (*super().artefacts, self.hard_cases.values, self.normal_cases.values)
