"""Jobs: what one command has to do, complete in itself, as one small JSON file; free of torch.

A job's own parts are named `…Spec`; a `…Section` is a section of the study, taken over as it is.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from editcore import atomic
from editcore.config.collapse import CollapseSection
from editcore.config.messages import explain
from editcore.config.study import (
    Device,
    FloatType,
    MomentSection,
    Natural,
    PerplexitySection,
    Positive,
    Precision,
    PrefixTokens,
    Seed,
    require_tf32,
)
from editcore.config.value_options import ValueOptions
from editcore.errors import ConfigError
from editcore.planning import paths
from editcore.planning.paths import ArtefactKey, SequenceKey, ShardKey, ValueKey

# Left out of the file where there is none, so that jobs without it keep their bytes.
ABSENT: Any = Field(default="", exclude_if=lambda code: not code)
CaseIds = Annotated[tuple[int, ...], Field(min_length=1)]


class Job(BaseModel):
    """Base of every job and of its parts: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def as_json(self) -> str:
        """The job as JSON whose bytes depend on its content alone."""
        return self.model_dump_json(indent=2) + "\n"


class ModelSpec(Job):
    """A model and how it is loaded; `source` is a bundled name, a folder or a hub id.

    `family_code` is a hash of the plugin that brings the model's family, if a third party's does.
    """

    name: str
    source: str
    dtype: FloatType = "float32"
    device: Device = "cpu"
    precision: Precision = "float32"
    revision: str | None = None
    trust_remote_code: bool = False
    family_code: str = ABSENT

    @model_validator(mode="after")
    def _can_compute(self) -> Self:
        require_tf32(self.precision, self.device)
        return self


class TransformSpec(Job):
    """A transform of weight changes, its options, and the code that answers to its name."""

    uses: str
    options: dict[str, Any] = {}
    distribution: str = ""
    version: str = ""
    code: str = ""


class EditorSpec(Job):
    """An editor under its label, its options, and the code that answers to its name.

    `code` is a hash of the plugin's sources: a changed editor is a changed job. `key_code` is the
    same for the key strategy, by name, if that is a third party's.
    """

    label: str
    uses: str
    options: dict[str, Any] = {}
    distribution: str = ""
    version: str = ""
    code: str = ""
    key_code: dict[str, str] = {}
    transforms: tuple[TransformSpec, ...] = ()


class DatasetSpec(Job):
    """A data set under its label.

    `format_code` is a hash of the plugin that reads it, if a third party's does.
    """

    name: str
    path: str
    format: str = "auto"
    format_code: str = ABSENT


class PrefixJob(Job):
    """Write the context prefixes of one model; `lengths` are pairs of (tokens, number)."""

    model: ModelSpec
    lengths: Annotated[tuple[tuple[PrefixTokens, Positive], ...], Field(min_length=1)]
    seeds: Annotated[tuple[str, ...], Field(min_length=1)]
    seed: Seed


class MomentJob(Job):
    """Give the second moments of keys of some layers of one model.

    They are measured on `texts`, or read from `published`, a path with `{layer}`; one of the two
    is given.
    """

    model: ModelSpec
    layers: Annotated[tuple[Natural, ...], Field(min_length=1)]
    texts: MomentSection | None = None
    published: str | None = None

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of which moments these are and what they are made from."""
        content = {"layers": True, "texts": True, "published": True}
        model = {"source", "revision", "dtype"}
        text = self.model_dump_json(include={"model": model, **content})
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])

    @property
    def files(self) -> dict[int, str]:
        """By layer, where the second moments will be."""
        folder = paths.moments(*self.key)
        return {layer: str(paths.moment(folder, layer)) for layer in self.layers}

    @property
    def sources(self) -> list[str]:
        """The files, besides the model, that the moments are made from."""
        return sorted({self.source(layer) for layer in self.layers})

    def source(self, layer: int) -> str:
        """The file of texts, or of the published statistics of one layer."""
        if self.published is not None:
            return self.published.replace("{layer}", str(layer))
        assert self.texts is not None
        return self.texts.path


class ValueJob(Job):
    """Search for v* of the cases of one shard, for all editors that search in the same way."""

    model: ModelSpec
    dataset: DatasetSpec
    shard: Natural
    case_ids: CaseIds
    prefixes: str
    options: ValueOptions

    @property
    def key(self) -> ValueKey:
        """Which of the study's searches for v* this is."""
        digest = hashlib.sha256(self.options.model_dump_json().encode()).hexdigest()[:8]
        return ValueKey(self.model.name, digest, self.dataset.name, f"{self.shard:03d}")


class ValueFile(Job):
    """Where v* under some options will be."""

    options: ValueOptions
    path: str


class EditorJob(Job):
    """Base of the jobs that edit: an editor on a model, and the artefacts that its edits read.

    `prefixes`, `moments` (by layer), `values` and `trained` are files.
    """

    model: ModelSpec
    editor: EditorSpec
    seed: Seed
    prefixes: str | None = None
    moments: dict[Natural, str] = {}
    values: tuple[ValueFile, ...] = ()
    trained: str | None = None


class TrainJob(EditorJob):
    """Train an editor for one model, with the options that training depends on, on files of data.

    Editors whose options differ in others share what is trained.
    """

    data: tuple[str, ...] = ()

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of what is trained, how, and on what."""
        model, editor = {"source", "revision", "dtype"}, {"uses", "options"}
        text = self.model_dump_json(
            include={"model": model, "editor": editor, "seed": True, "data": True}
        )
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])


class EditJob(EditorJob):
    """Edit the cases of one shard, each from the unedited model, and measure each edited model.

    Each model continues its case's prompt by `continuation_tokens`; 0 for none.
    `metric_code` has a hash of the plugin's sources for each metric that is a third party's.
    """

    dataset: DatasetSpec
    shard: Natural
    case_ids: CaseIds
    perplexity: PerplexitySection
    metrics: tuple[str, ...]
    continuation_tokens: Natural = 0
    metric_code: dict[str, str] = {}

    @property
    def key(self) -> ShardKey:
        """Which of the study's shards this is."""
        return ShardKey(self.model.name, self.editor.label, self.dataset.name, f"{self.shard:03d}")


class SequenceJob(EditorJob):
    """Edit cases one after another in one model, `batch` in each step, measuring as it goes.

    `order` is the seed that chose the cases and their order. Perplexity is measured every `every`
    edits, and what is left of them at each of `checks` and at the end. `tasks` are asked at the
    start, at each of `task_checks` and at the end, the first `task_items` items of each. With a
    `stop_rule` the sequence ends where that finds the model collapsed.
    """

    dataset: DatasetSpec
    order: Seed
    case_ids: CaseIds
    batch: Positive
    every: Positive
    checks: tuple[Positive, ...]
    checkpoint: Positive
    perplexity: PerplexitySection
    stop_rule: CollapseSection | None = None
    tasks: tuple[str, ...] = ()
    task_items: Positive | None = None
    task_checks: tuple[Positive, ...] = ()

    @property
    def key(self) -> SequenceKey:
        """Which of the study's sequences this is."""
        return SequenceKey(self.model.name, self.editor.label, self.dataset.name, str(self.order))


class EditFiles(Job):
    """Where the rows and the weight changes of one shard will be."""

    rows: str
    deltas: str


class DownstreamJob(Job):
    """Let the unedited model and some of its edited ones do tasks.

    `count` edits are chosen over the range of perplexity and `top` more for theirs; tasks take
    their first `limit` items; `seed` draws the examples of tasks that show some.
    """

    model: ModelSpec
    edits: tuple[EditFiles, ...]
    tasks: tuple[str, ...]
    count: Positive
    top: Natural
    limit: Positive | None
    seed: Seed
    perplexity: PerplexitySection


class CaseSet(Job):
    """Some cases of a data set, and the file of their v*."""

    dataset: DatasetSpec
    case_ids: CaseIds
    values: str


class MechanismJob(EditorJob):
    """Find out why edits collapse one model, on two sets of cases; `moments` are of one layer."""

    hard_cases: CaseSet
    normal_cases: CaseSet
    texts: MomentSection
    perplexity: PerplexitySection
    prefix_lengths: Annotated[tuple[Natural, ...], Field(min_length=1)]
    encoder: str | None = None


JobT = TypeVar("JobT", bound=Job)


def read(kind: type[JobT], path: Path) -> JobT:
    """Read a job file; raises `ConfigError` where it is missing or is no job of this kind."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: the job file cannot be read ({error.strerror}); run `editcore plan` to write "
            "it"
        ) from None
    except ValidationError as error:
        reason = explain(error, kind, str(path))
        raise ConfigError(f"{reason}\nrun `editcore plan` to regenerate the job files") from None


def write_if_changed(path: Path, text: str) -> bool:
    """Write `text`, whole or not at all, where it differs from what is there; true if so.

    An unchanged file keeps its time, so that Snakemake sees no change.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    atomic.write_text(path, text)
    return True
