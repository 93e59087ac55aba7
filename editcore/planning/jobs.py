"""Jobs: the complete input of one command, as one small JSON file; imports no torch.

A job's own parts are named `…Spec`; a `…Section` is a section of the study, unchanged.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from editcore import atomic
from editcore.config.alarm import Alarm
from editcore.config.answers import AnswersSection
from editcore.config.collapse import CollapseSection, Harm
from editcore.config.columns import ColumnNames
from editcore.config.messages import explain
from editcore.config.options import Anchor
from editcore.config.section import Natural, Positive, Seed
from editcore.config.stages import Arrangement, TelemetryName
from editcore.config.study import Device, FloatType, Precision, require_tf32
from editcore.config.texts import PrefixSection
from editcore.config.value_options import ValueOptions
from editcore.datasets.data_file import DataFile
from editcore.errors import ConfigError, reason
from editcore.planning import paths
from editcore.planning.paths import ArtefactKey, SequenceKey, ShardKey, ValueKey

# Not written if empty, so that jobs without it keep their bytes.
ABSENT: Any = Field(default="", exclude_if=lambda code: not code)
NOT_GIVEN: Any = Field(default=None, exclude_if=lambda value: value is None)
CaseIds = Annotated[tuple[int, ...], Field(min_length=1)]


class Job(BaseModel):
    """Base of every job and of its parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def as_json(self) -> str:
        """The job as JSON; equal jobs have equal bytes."""
        return self.model_dump_json(indent=2) + "\n"


class ModelSpec(Job):
    """A model and how it is loaded; `source` and `sha256` are as in the study.

    With `chat`, prompts are in its chat template. `family_code` is the source hash of the plugin
    that provides its family, if a third party's.
    """

    name: str
    source: str
    dtype: FloatType = "float32"
    device: Device = "cpu"
    precision: Precision = "float32"
    revision: str | None = None
    sha256: str | None = NOT_GIVEN
    trust_remote_code: bool = False
    chat: bool = Field(default=False, exclude_if=lambda chat: not chat)
    family_code: str = ABSENT

    @property
    def identity(self) -> str:
        """What all of the model's artefacts depend on, as text; those of its chat on that too."""
        return " ".join(filter(None, (self.source, self.revision, self.dtype)))

    @property
    def plain(self) -> "ModelSpec":
        """The model without its chat, on which prefixes and second moments do not depend."""
        return self.model_copy(update={"chat": False})

    @model_validator(mode="after")
    def _can_compute(self) -> Self:
        require_tf32(self.precision, self.device)
        return self


class TransformSpec(Job):
    """A transform of weight changes: its options, and the plugin that provides it."""

    uses: str
    options: dict[str, Any] = {}
    distribution: str = ""
    version: str = ""
    code: str = ""


class EditorSpec(Job):
    """An editor: its label, its options, and the plugin that provides it.

    `code` is a hash of the plugin's sources, so that a changed editor makes a changed job.
    `key_code` is that of the key strategy, by name, if it is a third party's.
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
    """A data set and its label.

    `format_code` is the source hash of the plugin that reads it, if a third party's.
    """

    name: str
    path: str
    format: str = "auto"
    format_code: str = ABSENT
    columns: ColumnNames | None = NOT_GIVEN

    @property
    def file(self) -> DataFile:
        """The data set's file, and how its records are read."""
        return DataFile(self.path, self.format, self.columns)


class DatasetCases(Job):
    """Some cases of a data set."""

    dataset: DatasetSpec
    case_ids: CaseIds


class PerplexitySpec(Job):
    """The first `texts` texts of a file, on which perplexity is measured."""

    path: str
    texts: Positive


class TextSpec(Job):
    """The first `tokens` tokens of a file's texts, from which second moments are estimated."""

    path: str
    tokens: Positive


class PrefixJob(Job):
    """Generate the context prefixes of one model, or take those of a file."""

    model: ModelSpec
    prefixes: PrefixSection
    seed: Seed


class RoundingJob(Job):
    """Measure what rounding one model's weights does to its predictions."""

    model: ModelSpec
    perplexity: PerplexitySpec


class TextJob(Job):
    """Let one model write texts of at least `tokens` tokens."""

    model: ModelSpec
    tokens: Positive
    seed: Seed

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of what its texts depend on."""
        model = {"source", "revision", "dtype"}
        text = self.model_dump_json(include={"model": model, "tokens": True, "seed": True})
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])

    @property
    def spec(self) -> TextSpec:
        """Where the texts will be."""
        return TextSpec(path=str(paths.texts(*self.key)), tokens=self.tokens)


class MomentJob(Job):
    """Measure or read the second moments of keys of some layers of one model.

    They are measured on `texts`, or read from `published`, a path with `{layer}`; exactly one of
    the two is given. `tolerance` is as in the study.
    """

    model: ModelSpec
    layers: Annotated[tuple[Natural, ...], Field(min_length=1)]
    texts: TextSpec | None = None
    published: str | None = None
    tolerance: float | None = NOT_GIVEN

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.texts is None) == (self.published is None):
            raise ValueError("give either texts or published")
        return self

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of everything that the moments depend on."""
        content = {"layers": True, "texts": True, "published": True, "tolerance": True}
        text = self.model_dump_json(include={"model": {"source", "revision", "dtype"}, **content})
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])

    @property
    def files(self) -> dict[int, str]:
        """The file of each layer's second moment, by layer."""
        return {n: str(paths.of_layer(paths.moments(*self.key), n)) for n in self.layers}

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
    """Search for v* of the cases of one shard, for all editors with the same search options."""

    model: ModelSpec
    dataset: DatasetSpec
    shard: Natural
    case_ids: CaseIds
    prefixes: str
    options: ValueOptions

    @property
    def key(self) -> ValueKey:
        """The key of this search in the study."""
        digest = hashlib.sha256(self.options.model_dump_json().encode()).hexdigest()[:8]
        return ValueKey(self.model.name, digest, self.dataset.name, f"{self.shard:03d}")


class ValueFile(Job):
    """The file of the v* found with some search options."""

    options: ValueOptions
    path: str


class AnchorFile(Job):
    """The file of a norm anchor, and what it was asked for with.

    `key` identifies the search and the facts.
    """

    options: ValueOptions
    cases: Positive
    facts: str | None
    key: str
    path: str

    @property
    def need(self) -> Anchor:
        """The requirement that it fulfils."""
        return Anchor(self.options, self.cases, self.facts)


class EditorJob(Job):
    """Base of the jobs that edit: an editor on a model, and the artefacts that its edits read.

    `prefixes`, `moments` and `spectra` (by layer), `values`, `trained` and `anchors` are files.
    """

    model: ModelSpec
    editor: EditorSpec
    seed: Seed
    prefixes: str | None = None
    moments: dict[Natural, str] = {}
    spectra: dict[Natural, str] = Field(default={}, exclude_if=lambda files: not files)
    values: tuple[ValueFile, ...] = ()
    trained: str | None = None
    anchors: tuple[AnchorFile, ...] = Field(default=(), exclude_if=lambda files: not files)

    @property
    def artefacts(self) -> tuple[str, ...]:
        """The files of all artefacts that the job's edits read."""
        values = [source.path for source in self.values]
        anchors = [source.path for source in self.anchors]
        by_layer = [*self.moments.values(), *self.spectra.values()]
        found = (self.prefixes, *by_layer, *values, *anchors, self.trained)
        return tuple(path for path in found if path is not None)


class TrainJob(EditorJob):
    """Train an editor for one model on data files, with the options that training depends on.

    Editors that differ only in other options share the result.
    """

    data: tuple[str, ...] = ()

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of everything that training depends on."""
        model, editor = {"source", "revision", "dtype", "chat"}, {"uses", "options"}
        text = self.model_dump_json(
            include={"model": model, "editor": editor, "seed": True, "data": True}
        )
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])


class EditJob(EditorJob):
    """Edit the cases of one shard, each from the unedited model, and measure each edited model.

    `metric_code` is the source hash of each third party's metric. `forecasts`: it also reads a
    sample of other text. `answers`: what it is asked; `asked`: for which cases, by default all.
    """

    dataset: DatasetSpec
    shard: Natural
    case_ids: CaseIds
    perplexity: PerplexitySpec
    metrics: tuple[str, ...]
    continuation_tokens: Natural = 0
    forecasts: bool = True
    answers: AnswersSection | None = NOT_GIVEN
    asked: tuple[int, ...] | None = NOT_GIVEN
    metric_code: dict[str, str] = {}

    @property
    def key(self) -> ShardKey:
        """The key of this shard in the study."""
        return ShardKey(self.model.name, self.editor.label, self.dataset.name, f"{self.shard:03d}")


class SequenceJob(EditorJob):
    """Edit cases one after another in one model, `batch` per step, measuring along the way.

    `order` is the seed that drew the cases and their order, and `arrangement` how they are ordered
    then. Perplexity is measured every `every` edits and in each step up to `closely`, with the
    quantities in `telemetry`; efficacy and locality at each of `checks` and at the end. `tasks` are
    run at the start, at each of `task_checks` and at the end, on the first `task_items` items of
    each. With a `stop_rule`, the sequence ends when the model has collapsed by that rule; with
    `stop_before`, every step is measured, one that harms the model so is taken back, and the
    sequence ends then, or as soon as `alarm` foretells a collapse.
    """

    dataset: DatasetSpec
    order: Seed
    case_ids: CaseIds
    batch: Positive
    every: Positive
    closely: Natural = 0
    checks: tuple[Positive, ...]
    checkpoint: Positive
    perplexity: PerplexitySpec
    arrangement: Arrangement = "drawn"
    telemetry: tuple[TelemetryName, ...] = ()
    stop_rule: CollapseSection | None = None
    stop_before: Harm | None = None
    alarm: Alarm | None = None
    tasks: tuple[str, ...] = ()
    task_items: Positive | None = None
    task_checks: tuple[Positive, ...] = ()

    @property
    def key(self) -> SequenceKey:
        """The key of this sequence in the study."""
        drawn = self.arrangement == "drawn"
        order = str(self.order) if drawn else f"{self.order}-{self.arrangement}"
        order = f"{order}-batch-{self.batch}" if self.batch > 1 else order
        return SequenceKey(self.model.name, self.editor.label, self.dataset.name, order)


FileT = TypeVar("FileT", bound=BaseModel)


def read(kind: type[FileT], path: Path, name: str = "job file") -> FileT:
    """Read a job file, or another file that planning writes and messages call by its `name`.

    Raises `ConfigError` if it is missing or not of this kind.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: the {name} cannot be read ({reason(error)}); run `editcore plan` to write it"
        ) from None
    except ValidationError as error:
        wrong = explain(error, kind, f"{path}: this is not a valid {name}")
        raise ConfigError(f"{wrong}\nrun `editcore plan` to write it again") from None


def write_if_changed(path: Path, text: str) -> bool:
    """Write `text` atomically if the file differs from it; returns whether it did.

    An unchanged file keeps its time, so that Snakemake sees no change.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    atomic.write_text(path, text)
    return True
