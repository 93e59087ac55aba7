"""A study as jobs: its files, the inputs of each job, and its manifest."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from editcore.config.study import StudyConfig
from editcore.datasets import invented_world, task_files
from editcore.planning import paths, preflight
from editcore.planning.artefacts.anchors import AnchorJob
from editcore.planning.artefacts.spectra import SpectrumJob
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    EditorJob,
    FileT,
    Job,
    MomentJob,
    PrefixJob,
    RoundingJob,
    SequenceJob,
    TextJob,
    TrainJob,
    ValueJob,
    read,
    write_if_changed,
)
from editcore.planning.paths import ArtefactKey, SequenceKey, ShardKey, ValueKey
from editcore.planning.stages.jobs import DownstreamJob, LayersJob, MechanismJob, SurvivalJob

# The tables in `editcore.records.mechanism_schemas`, which planning does not import.
MECHANISM = ("updates", "distances", "points", "moved", "depth", "positions")
MECHANISM_DERIVED = ("shared", "prompting")


class StudyList(Job):
    """The manifest `study.json`: each table with its job file, and the study's configuration."""

    edits: dict[str, str]
    sequences: dict[str, str]
    scores: dict[str, str]
    survival: dict[str, str] = Field(default_factory=dict)
    layers: dict[str, str] = Field(default_factory=dict)
    rounding: dict[str, str] = Field(default_factory=dict)
    answers: dict[str, str] = Field(default_factory=dict)
    config: StudyConfig


@dataclass(frozen=True)
class Study:
    """A study as jobs, by key; prefixes, rounding, tasks, survival, layers and mechanism by model.

    `model_files` are the files that each model is loaded from, so that a changed model is edited
    again.
    """

    config: StudyConfig
    prefixes: Mapping[str, PrefixJob]
    moments: Mapping[ArtefactKey, MomentJob]
    values: Mapping[ValueKey, ValueJob]
    training: Mapping[ArtefactKey, TrainJob]
    edits: Mapping[ShardKey, EditJob]
    model_files: Mapping[str, tuple[str, ...]]
    sequences: Mapping[SequenceKey, SequenceJob] = field(default_factory=dict)
    downstream: Mapping[str, DownstreamJob] = field(default_factory=dict)
    survival: Mapping[str, SurvivalJob] = field(default_factory=dict)
    layers: Mapping[str, LayersJob] = field(default_factory=dict)
    mechanism: Mapping[str, MechanismJob] = field(default_factory=dict)
    texts: Mapping[ArtefactKey, TextJob] = field(default_factory=dict)
    rounding: Mapping[str, RoundingJob] = field(default_factory=dict)
    spectra: Mapping[ArtefactKey, SpectrumJob] = field(default_factory=dict)
    anchors: Mapping[ArtefactKey, AnchorJob] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What whoever reads the results should know first, a sentence each; mostly none."""
        return invented_world.notes(self.config)

    @property
    def edit_files(self) -> list[str]:
        """The tables of all shards, in a fixed order."""
        return [str(paths.edits(*key)) for key in self.edits]

    @property
    def answer_files(self) -> list[str]:
        """The tables of free answers, one for each shard if the study asks for them."""
        return [str(paths.answers(*key)) for key, job in self.edits.items() if job.answers]

    @property
    def answers_output(self) -> dict[str, str]:
        """The further output of a shard for Snakemake's rule, if the study asks for answers."""
        wildcards = ("{model}", "{editor}", "{dataset}", "{shard}")
        return {"answers": str(paths.answers(*wildcards))} if self.config.answers else {}

    @property
    def summaries(self) -> list[str]:
        """The tables that the report is made from."""
        names = ["cases", "verdicts", "warning"]
        names += ["rounding"] if self.rounding else []
        names += ["downstream", "correlation", "weight_change"] if self.downstream else []
        names += ["survival"] if self.survival else []
        names += ["sequences"] if self.sequences else []
        names += ["layers"] if self.layers else []
        names += ["answers", "answers-examples"] if self.config.answers else []
        return [*(str(paths.summary(name)) for name in names), *self.mechanism_tables]

    @property
    def tables(self) -> list[str]:
        """Every table of the study; a missing one is made again, whatever else exists."""
        own = [*self.edit_files, *self.sequence_files, *self.score_files, *self.layer_files]
        more = [*self.answer_files, *self.survival_files, *self.rounding_files]
        return [*own, *more, *self.mechanism_folders, *self.summaries]

    @property
    def sequence_files(self) -> list[str]:
        """The tables of all sequences, in a fixed order."""
        return [str(paths.sequences(*key)) for key in self.sequences]

    @property
    def score_files(self) -> list[str]:
        """The tables of downstream scores, one for each model."""
        return [str(paths.downstream(model)) for model in self.downstream]

    @property
    def survival_files(self) -> list[str]:
        """The tables of what is left of edits, one for each model."""
        return [str(paths.survival(model)) for model in self.survival]

    @property
    def layer_files(self) -> list[str]:
        """The tables of keys at every layer, one for each model."""
        return [str(paths.layers(model)) for model in self.layers]

    @property
    def rounding_files(self) -> list[str]:
        """The tables of what rounding does, one for each model."""
        return [str(paths.rounding(model)) for model in self.rounding]

    def rounding_inputs(self, model: str) -> list[str]:
        """The files, besides the job, that a model's rounding is measured with."""
        return [self.rounding[model].perplexity.path, *self.model_files[model]]

    def layers_inputs(self, model: str) -> list[str]:
        """The files, besides the job, that a model's keys at every layer are read from."""
        job = self.layers[model]
        data = [each.dataset.path for each in job.sets]
        return [job.prefixes, *data, *self.model_files[model]]

    @property
    def mechanism_folders(self) -> list[str]:
        """The folders of the mechanism's tables, one for each model."""
        return [str(paths.mechanism(model)) for model in self.mechanism]

    @property
    def mechanism_tables(self) -> list[str]:
        """The mechanism's tables in the summary; none for a study without it."""
        names = (*MECHANISM, *MECHANISM_DERIVED) if self.mechanism else ()
        return [str(paths.RESULTS / "summary" / paths.mechanism_file(name)) for name in names]

    def mechanism_inputs(self, model: str) -> list[str]:
        """The files, besides the job, that a model's mechanism is measured from."""
        job = self.mechanism[model]
        sets = (job.hard_cases, job.normal_cases)
        files = [file for each in sets for file in (each.dataset.path, each.values)]
        texts = [job.perplexity.path, job.texts.path]
        encoder = [str(file) for file in preflight.model_files(job.encoder)] if job.encoder else []
        return [*_artefacts(job), *files, *texts, *encoder, *self.model_files[model]]

    @property
    def datasets(self) -> list[DatasetSpec]:
        """The data sets, each once."""
        return list({job.dataset.name: job.dataset for job in self.edits.values()}.values())

    @property
    def sizes(self) -> Mapping[tuple[str, str, str], int]:
        """The number of cases for each model, editor and data set, over all shards."""
        sizes: Counter[tuple[str, str, str]] = Counter()
        for key, job in self.edits.items():
            sizes[key.model, key.editor, key.dataset] += len(job.case_ids)
        return sizes

    def prefixes_inputs(self, model: str) -> list[str]:
        """The files, besides the job, that a model's prefixes are made from."""
        file = self.prefixes[model].prefixes.path
        return [*self.model_files[model], *([file] if file else [])]

    def texts_inputs(self, model: str, digest: str) -> list[str]:
        """The files, besides the job, that a model's own texts are made from."""
        return list(self.model_files[model])

    def moments_inputs(self, model: str, digest: str) -> list[str]:
        """The files, besides the job, that second moments are made from."""
        return [*self.moments[ArtefactKey(model, digest)].sources, *self.model_files[model]]

    def spectra_inputs(self, model: str, digest: str) -> list[str]:
        """The folders, besides the job, with the second moments that are decomposed."""
        return self.spectra[ArtefactKey(model, digest)].inputs

    def anchors_inputs(self, model: str, digest: str) -> list[str]:
        """The files, besides the job, that a norm anchor is made from: those of a search for v*."""
        job = self.anchors[ArtefactKey(model, digest)]
        return [job.prefixes, *(each.dataset.path for each in job.sets), *self.model_files[model]]

    def values_inputs(self, model: str, digest: str, dataset: str, shard: str) -> list[str]:
        """The files, besides the job, that the search for v* of a shard reads."""
        job = self.values[ValueKey(model, digest, dataset, shard)]
        return [job.prefixes, job.dataset.path, *self.model_files[model]]

    def training_inputs(self, model: str, digest: str) -> list[str]:
        """The files, besides the job, that an editor is trained with."""
        job = self.training[ArtefactKey(model, digest)]
        return [*_artefacts(job), *job.data, *self.model_files[model]]

    def edits_inputs(self, model: str, editor: str, dataset: str, shard: str) -> list[str]:
        """The files, besides the job, that a shard is made from: artefacts, data, texts, model."""
        job = self.edits[ShardKey(model, editor, dataset, shard)]
        data = [job.dataset.path, job.perplexity.path]
        return [*_artefacts(job), *data, *self.model_files[model]]

    def sequences_inputs(self, model: str, editor: str, dataset: str, order: str) -> list[str]:
        """The files, besides the job, that a sequence is made from: as for a shard, and tasks."""
        job = self.sequences[SequenceKey(model, editor, dataset, order)]
        data = [job.dataset.path, job.perplexity.path, *_task_files(job.tasks)]
        return [*_artefacts(job), *data, *self.model_files[model]]

    @property
    def delta_files(self) -> list[str]:
        """The weight changes of all shards, in a fixed order."""
        return [str(paths.deltas(*key)) for key in self.edits]

    def downstream_inputs(self, model: str) -> list[str]:
        """The files, besides the job, that a model's scores are made from: edits, tasks, texts."""
        job = self.downstream[model]
        edits = [file for shard in job.edits for file in (shard.rows, shard.deltas)]
        return [*edits, *_task_files(job.tasks), job.perplexity.path, *self.model_files[model]]

    def survival_inputs(self, model: str) -> list[str]:
        """The files, besides the job, that treated models are measured from: edits, facts, texts.

        The model's own files are among them.
        """
        job = self.survival[model]
        edits = [file for each in job.edits for file in (each.rows, each.deltas)]
        texts = [job.perplexity.path, *([job.tuning.path] if job.tuning else [])]
        read = dict.fromkeys([*(each.dataset.path for each in job.edits), *texts])
        return [*edits, *read, *self.model_files[model]]

    def gpus(self, model: str) -> int:
        """The number of graphics cards that a job with this model uses: 0 or 1."""
        return int(self.config.models[model].device.startswith("cuda"))

    def write(self) -> list[Path]:
        """Write the job files and the manifest if they changed; returns the files written."""
        return [path for path, text in self._files() if write_if_changed(path, text)]

    def _files(self) -> Iterator[tuple[Path, str]]:
        for model, prefix_job in self.prefixes.items():
            yield paths.prefixes_job(model), prefix_job.as_json()
        for model, rounding_job in self.rounding.items():
            yield paths.rounding_job(model), rounding_job.as_json()
        for texts_key, text_job in self.texts.items():
            yield paths.texts_job(*texts_key), text_job.as_json()
        for moments_key, moment_job in self.moments.items():
            yield paths.moments_job(*moments_key), moment_job.as_json()
        for spectra_key, spectrum_job in self.spectra.items():
            yield paths.spectra_job(*spectra_key), spectrum_job.as_json()
        for anchor_key, anchor_job in self.anchors.items():
            yield paths.anchor_job(*anchor_key), anchor_job.as_json()
        for value_key, value_job in self.values.items():
            yield paths.values_job(*value_key), value_job.as_json()
        for train_key, train_job in self.training.items():
            yield paths.train_job(*train_key), train_job.as_json()
        for shard_key, edit_job in self.edits.items():
            yield paths.edits_job(*shard_key), edit_job.as_json()
        for sequence_key, sequence_job in self.sequences.items():
            yield paths.sequences_job(*sequence_key), sequence_job.as_json()
        for model, downstream_job in self.downstream.items():
            yield paths.downstream_job(model), downstream_job.as_json()
        for model, survival_job in self.survival.items():
            yield paths.survival_job(model), survival_job.as_json()
        for model, layers_job in self.layers.items():
            yield paths.layers_job(model), layers_job.as_json()
        for model, mechanism_job in self.mechanism.items():
            yield paths.mechanism_job(model), mechanism_job.as_json()
        listed = StudyList(
            edits={str(paths.edits(*key)): str(paths.edits_job(*key)) for key in self.edits},
            sequences={
                str(paths.sequences(*n)): str(paths.sequences_job(*n)) for n in self.sequences
            },
            scores={
                str(paths.downstream(m)): str(paths.downstream_job(m)) for m in self.downstream
            },
            survival={str(paths.survival(m)): str(paths.survival_job(m)) for m in self.survival},
            layers={str(paths.layers(m)): str(paths.layers_job(m)) for m in self.layers},
            rounding={str(paths.rounding(m)): str(paths.rounding_job(m)) for m in self.rounding},
            answers={
                str(paths.answers(*key)): str(paths.edits_job(*key))
                for key, job in self.edits.items()
                if job.answers
            },
            config=self.config,
        )
        yield paths.STUDY_FILE, listed.as_json()


def _artefacts(job: EditorJob) -> list[str]:
    """The artefacts that a job reads, as named in Snakemake's rules."""
    prefixes = [job.prefixes] if job.prefixes else []
    # Snakemake's rules make the folders as a whole.
    by_layer = (*job.moments.values(), *job.spectra.values())
    folders = dict.fromkeys(str(Path(file).parent) for file in by_layer)
    values = [source.path for source in job.values]
    anchors = [source.path for source in job.anchors]
    return [*prefixes, *folders, *values, *anchors, *([job.trained] if job.trained else [])]


def _task_files(names: Sequence[str]) -> list[str]:
    """The files that tasks are made from."""
    return [file for name in names for file in task_files.files(name)]


def listed_edits(study_file: Path) -> dict[Path, EditJob]:
    """The edit tables of a study's manifest, each with its job.

    Raises `ConfigError` if the manifest or a job cannot be read, as do the functions below.
    """
    return _read_jobs(_listed(study_file).edits, EditJob)


def listed_sequences(study_file: Path) -> dict[Path, SequenceJob]:
    """The tables of sequences, each with its job."""
    return _read_jobs(_listed(study_file).sequences, SequenceJob)


def listed_scores(study_file: Path) -> dict[Path, DownstreamJob]:
    """The tables of scores, each with its job."""
    return _read_jobs(_listed(study_file).scores, DownstreamJob)


def listed_survival(study_file: Path) -> dict[Path, SurvivalJob]:
    """The tables of what is left of edits, each with its job."""
    return _read_jobs(_listed(study_file).survival, SurvivalJob)


def listed_layers(study_file: Path) -> dict[Path, LayersJob]:
    """The tables of keys at every layer, each with its job."""
    return _read_jobs(_listed(study_file).layers, LayersJob)


def listed_rounding(study_file: Path) -> dict[Path, RoundingJob]:
    """The tables of what rounding does, each with its job."""
    return _read_jobs(_listed(study_file).rounding, RoundingJob)


def listed_answers(study_file: Path) -> dict[Path, EditJob]:
    """The tables of free answers, each with the job of its shard."""
    return _read_jobs(_listed(study_file).answers, EditJob)


def listed_config(study_file: Path) -> StudyConfig:
    """The configuration in a study's manifest."""
    return _listed(study_file).config


def _read_jobs(tables: Mapping[str, str], job: type[FileT]) -> dict[Path, FileT]:
    return {Path(table): read(job, Path(file)) for table, file in tables.items()}


def _listed(study_file: Path) -> StudyList:
    return read(StudyList, study_file, "study manifest (study.json)")
