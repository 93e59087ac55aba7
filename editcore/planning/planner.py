"""From a study's configuration to its jobs; finds all errors that can be found without a model."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from editcore.config.messages import nearest
from editcore.config.options import Values, needs
from editcore.config.study import StudyConfig
from editcore.datasets.bundled import data_file
from editcore.errors import ConfigError, at
from editcore.planning import paths, preflight
from editcore.planning.artefacts import spectra, training
from editcore.planning.artefacts.anchors import AnchorPlanner
from editcore.planning.cases import Cases, of_dataset
from editcore.planning.edited import EditedModel
from editcore.planning.editors import EditorPlanner, moment_layers
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    ModelSpec,
    MomentJob,
    PerplexitySpec,
    PrefixJob,
    RoundingJob,
    SequenceJob,
    TextJob,
    TextSpec,
    ValueFile,
)
from editcore.planning.paths import ArtefactKey, SequenceKey
from editcore.planning.sources import model_spec, moment_texts, perplexity_spec, prefix_job
from editcore.planning.stages.downstream import downstream_jobs
from editcore.planning.stages.jobs import (
    DownstreamJob,
    LayersJob,
    MechanismJob,
    SurvivalJob,
)
from editcore.planning.stages.layers import layers_jobs
from editcore.planning.stages.mechanism import mechanism_sets
from editcore.planning.stages.sequences import SequencePlanner
from editcore.planning.stages.survival import survival_jobs
from editcore.planning.study import Study
from editcore.registry.registry import Registry, load_registry


def plan(config: StudyConfig, where: str, registry: Registry | None = None) -> Study:
    """Check a study and split it into jobs; `where` is the file that messages point to.

    Raises `EditcoreError` for an unknown editor, option or metric, a layer outside a model, and a
    model folder, data file or text that is missing or invalid. Writes nothing and imports no torch.
    """
    return _Planner(config, where, load_registry() if registry is None else registry).study()


# By model, the texts that its perplexity is measured on.
_Perplexity = Mapping[str, PerplexitySpec]


class _Planner:
    """Resolves each section once, then combines them."""

    def __init__(self, config: StudyConfig, where: str, registry: Registry) -> None:
        self._config = config
        self._where = where
        self._registry = registry
        self._editors = EditorPlanner(config, where, registry)
        self._texts: dict[ArtefactKey, TextJob] = {}
        self._plain: dict[str, ModelSpec] = {}

    def study(self) -> Study:
        """The study; every section is checked before any is combined."""
        self._check_names()
        models = [self._model(label) for label in self._config.models]
        self._plain = {spec.name: self._without_chat(spec, models) for spec in models}
        files = {spec.name: self._model_files(spec) for spec in models}
        cases = [self._cases(label, models) for label in self._config.datasets]
        reported = {each.dataset: each.ids for each in cases}
        anchors = AnchorPlanner(reported, self._registry, self._config.seed)
        edited = [
            self._edited(spec, label, anchors)
            for spec in models
            for label, choice in self._config.editors.items()
            if choice.models is None or spec.name in choice.models
        ]
        shards = [
            shard
            for each in cases
            if self._config.datasets[each.dataset.name].single_edits
            for shard in each.shards(self._config.shard_size)
        ]
        perplexity = {spec.name: self._perplexity(spec) for spec in models}
        pairs = [(e, s) for e in edited for s in shards if s.are_for(e.model)]
        asked = self._asked(cases)
        edits = [self._edit_job(*pair, perplexity, asked) for pair in pairs]
        values = [job for pair in pairs for job in pair[0].value_jobs(pair[1])]
        return Study(
            self._config,
            {spec.name: self._prefix_job(spec) for spec in models},
            self._moment_jobs(edited),
            {job.key: job for job in values},
            {job.key: job for pair in edited if (job := pair.training)},
            {job.key: job for job in edits},
            files,
            sequences=self._sequences(edited, cases, perplexity),
            downstream=self._downstream(models, edits, perplexity),
            survival=self._survival(models, edits, perplexity),
            layers=self._layers(models, cases),
            mechanism=self._mechanism_jobs(edited, shards, perplexity),
            texts=self._texts,
            spectra={wanted.key: wanted for pair in edited if (wanted := pair.spectra)},
            anchors={job.key: job for pair in edited for job in pair.anchors.values()},
            rounding={
                s.name: RoundingJob(model=s.plain, perplexity=perplexity[s.name]) for s in models
            },
        )

    def _sequences(
        self, edited: Sequence[EditedModel], cases: Sequence[Cases], perplexity: _Perplexity
    ) -> dict[SequenceKey, SequenceJob]:
        if (choice := self._config.sequences) is None:
            return {}
        place = f"{self._where}: sequences"
        planner = SequencePlanner(choice, place, self._config, self._registry)
        editors = planner.editors()
        facts = planner.facts({each.dataset.name: each.ids for each in cases})
        for each in cases:
            if each.dataset.name in facts:
                with at(f"{place}.datasets"):
                    each.require_one_fact("a step of a sequence edits single facts")
        measured = planner.measured()
        jobs = [
            SequenceJob(
                **pair.artefacts(self._config.seed),
                dataset=each.dataset,
                order=seed,
                case_ids=planner.drawn(facts, each.dataset.name, seed),
                batch=batch,
                arrangement=arrangement,
                perplexity=perplexity[pair.model.name],
                **measured,
            )
            for pair in edited
            if pair.editor.label in editors
            for each in cases
            if each.dataset.name in facts and each.are_for(pair.model)
            for seed in choice.seeds
            for arrangement in choice.arrangements
            for batch in planner.batches(pair.editor)
        ]
        return {job.key: job for job in jobs}

    def _check_names(self) -> None:
        for name in self._config.metrics:
            with self._at("metrics"):
                _ = self._registry.metrics[name]
        for label, choice in self._config.editors.items():
            if unknown := sorted(set(choice.options_by_model) - set(self._config.models)):
                raise ConfigError(
                    f"{self._where}: editors.{label}.options_by_model.{unknown[0]}: no model has "
                    f"this label. {nearest(unknown[0], self._config.models)}"
                )

    def _at(self, place: str) -> AbstractContextManager[None]:
        return at(f"{self._where}: {place}")

    def _model(self, label: str) -> ModelSpec:
        with self._at(f"models.{label}"):
            spec = model_spec(label, self._config.models[label], self._registry)
        if (asked := self._config.answers) and "chat" in asked.contexts:
            with self._at("answers.contexts"):
                preflight.require_chat(label, spec.source, spec.revision)
        return spec

    def _without_chat(self, model: ModelSpec, models: Sequence[ModelSpec]) -> ModelSpec:
        """The model whose second moments this one uses.

        If it has a chat, that is one of the study that differs in label and chat alone.
        """
        moments = {spec.name: self._config.models[spec.name].published_moments for spec in models}
        twins = (
            spec
            for spec in models
            if model.chat
            and spec == model.plain.model_copy(update={"name": spec.name})
            and moments[spec.name] == moments[model.name]
        )
        return next(twins, model.plain)

    def _model_files(self, spec: ModelSpec) -> tuple[str, ...]:
        with self._at(f"models.{spec.name}"):
            chat = preflight.chat_files(spec.source) if spec.chat else []
            files = tuple(str(file) for file in (*preflight.model_files(spec.source), *chat))
            preflight.without_wildcards(files)
            return files

    def _edited(self, model: ModelSpec, label: str, anchors: AnchorPlanner) -> EditedModel:
        options, spec = self._editors.resolved(model, label)
        layers = moment_layers(options)
        values = tuple(need.options for need in needs(options, Values))
        moments = self._moment_job(self._plain[model.name], layers) if layers else None
        basis = spectra.planned(options, moments)
        with self._at(f"editors.{label}"):
            files = [job.files if job else {} for job in (moments, basis)]
            learning = training.planned(options, model, spec, self._config.seed, *files)
            norms = anchors.planned(options, model)
        return EditedModel(model, spec, moments, basis, values, *learning, norms)

    def _cases(self, label: str, specs: Sequence[ModelSpec]) -> Cases:
        with self._at(f"datasets.{label}"):
            choice, seed = self._config.datasets[label], self._config.seed
            return of_dataset(label, choice, self._registry, specs, seed)

    def _perplexity(self, model: ModelSpec) -> PerplexitySpec:
        with self._at("perplexity"):
            return perplexity_spec(self._config.perplexity, model)

    def _prefix_job(self, model: ModelSpec) -> PrefixJob:
        with self._at("prefixes"):
            return prefix_job(self._config.prefixes, model, self._config.seed)

    def _moment_jobs(self, edited: Sequence[EditedModel]) -> dict[ArtefactKey, MomentJob]:
        jobs = [pair.moments for pair in edited if pair.moments]
        return {job.key: job for job in jobs}

    def _moment_job(self, model: ModelSpec, layers: tuple[int, ...]) -> MomentJob:
        if published := self._config.models[model.name].published_moments:
            with self._at(f"models.{model.name}.published_moments"):
                job = MomentJob(model=model, layers=layers, published=data_file(published))
                preflight.files(job.sources)
            return job
        texts, tolerance = self._moment_texts(model), self._config.moments.tolerance
        return MomentJob(model=model, layers=layers, texts=texts, tolerance=tolerance)

    def _moment_texts(self, model: ModelSpec) -> TextSpec:
        """Where texts for C are; a job that writes them is noted."""
        with self._at("moments"):
            found = moment_texts(self._config.moments, model, self._config.seed)
        if isinstance(found, TextSpec):
            return found
        self._texts[found.key] = found
        return found.spec

    def _asked(self, cases: Sequence[Cases]) -> dict[DatasetSpec, Collection[int]]:
        """The cases whose edited models are asked freely, of each data set; none if all are."""
        if (choice := self._config.answers) is None or choice.cases is None:
            return {}
        return {each.dataset: {*each.evenly(choice.cases)} for each in cases}

    def _edit_job(
        self,
        pair: EditedModel,
        cases: Cases,
        perplexity: _Perplexity,
        asked: Mapping[DatasetSpec, Collection[int]],
    ) -> EditJob:
        some = asked.get(cases.dataset)
        return EditJob(
            **pair.artefacts(self._config.seed),
            values=tuple(
                ValueFile(options=job.options, path=str(paths.values(*job.key)))
                for job in pair.value_jobs(cases)
            ),
            dataset=cases.dataset,
            shard=cases.shard,
            case_ids=cases.ids,
            perplexity=perplexity[pair.model.name],
            metrics=self._config.metrics,
            continuation_tokens=self._config.continuation_tokens,
            forecasts=self._config.forecasts,
            answers=self._config.answers,
            asked=None if some is None else tuple(case for case in cases.ids if case in some),
            metric_code=self._registry.metrics.foreign_code(self._config.metrics),
        )

    def _downstream(
        self, models: Sequence[ModelSpec], edits: Sequence[EditJob], perplexity: _Perplexity
    ) -> dict[str, DownstreamJob]:
        if (choice := self._config.downstream) is None:
            return {}
        kept = self._weight_changes(edits)
        with self._at("downstream.tasks"):
            return downstream_jobs(choice, models, kept, perplexity, self._config.seed)

    def _survival(
        self, models: Sequence[ModelSpec], edits: Sequence[EditJob], perplexity: _Perplexity
    ) -> dict[str, SurvivalJob]:
        if (choice := self._config.survival) is None:
            return {}
        kept = self._weight_changes(edits)
        with self._at("survival.texts"):
            return survival_jobs(choice, models, kept, perplexity, self._config.seed)

    def _weight_changes(self, edits: Sequence[EditJob]) -> list[EditJob]:
        """The shards of editors whose edits are weight changes."""
        known = self._registry.editors
        return [job for job in edits if known[job.editor.uses].record.capabilities.changes_weights]

    def _layers(self, models: Sequence[ModelSpec], cases: Sequence[Cases]) -> dict[str, LayersJob]:
        if (choice := self._config.layers) is None:
            return {}
        with self._at("layers.datasets"):
            return layers_jobs(choice, models, cases)

    def _mechanism_jobs(
        self, edited: Sequence[EditedModel], shards: Sequence[Cases], perplexity: _Perplexity
    ) -> dict[str, MechanismJob]:
        if (choice := self._config.mechanism) is None:
            return {}
        hard, normal = mechanism_sets(choice, self._where, self._config, shards)
        jobs = {
            pair.model.name: self._mechanism_job(pair, hard, normal, perplexity)
            for pair in edited
            if pair.editor.label == choice.editor
            and hard.are_for(pair.model)
            and normal.are_for(pair.model)
        }
        if not jobs:
            raise ConfigError(
                f"{self._where}: mechanism: no model has both data sets, {choice.hard!r} and "
                f"{choice.normal!r}; name two that are for the same model"
            )
        return jobs

    def _mechanism_job(
        self, pair: EditedModel, hard: Cases, normal: Cases, perplexity: _Perplexity
    ) -> MechanismJob:
        choice = self._config.mechanism
        assert choice is not None
        sites = [search.site for search in pair.values]
        if pair.moments is None or len(pair.moments.layers) != 1 or sites != ["mlp"]:
            raise ConfigError(
                f"{self._where}: mechanism.editor: {choice.editor!r} does not search for v* "
                "of one MLP and read the second moment of its layer; name an editor that does"
            )
        return MechanismJob(
            **pair.artefacts(self._config.seed),
            hard_cases=pair.case_set(hard, choice.cases),
            normal_cases=pair.case_set(normal, choice.cases),
            texts=self._moment_texts(self._plain[pair.model.name]),
            perplexity=perplexity[pair.model.name],
            prefix_lengths=choice.prefix_lengths,
            encoder=choice.encoder,
        )
