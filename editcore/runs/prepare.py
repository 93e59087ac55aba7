"""Prepares one model and one editor outside the workflow, as a study with a single shard.

`check`, `guard` and `harden` use it: options are resolved and jobs planned as in any study; only
the place of the artefacts differs. Imports no torch.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.config.messages import validated
from editcore.config.study import (
    DatasetSection,
    EditorSection,
    ModelSection,
    Precision,
    StudyConfig,
    load,
)
from editcore.config.texts import MomentSection
from editcore.datasets.bundled import bundled_models, default_study, is_bundled
from editcore.numbers import numbered
from editcore.planning import paths, preflight
from editcore.planning.jobs import DatasetSpec, RoundingJob
from editcore.planning.planner import plan
from editcore.records.provenance import stamps

if TYPE_CHECKING:
    from editcore.config.collapse import CollapseSection
    from editcore.models.loading import Load
    from editcore.planning.jobs import (
        AnchorFile,
        EditJob,
        Job,
        ModelSpec,
        MomentJob,
        PerplexitySpec,
        PrefixJob,
    )
    from editcore.planning.study import Study
    from editcore.registry.registry import Registry

# Of the files in the cache; a new number leaves older ones unfound. 2: files carry digests. 3: the
# warning from the prompt alone is calibrated on the exposure.
CACHE_FORMAT = 3
CASES = "cases"
ONE_SHARD = 1_000_000
# Enough for keys of some hundreds of dimensions, and seconds of work on a small model.
BUNDLED_TOKENS = 50_000
# Of C without a study, when someone waits for it: about half of what a model's own texts leave
# between C⁻¹k and that of real text (docs/performance.md). A study reads all tokens by default.
TOLERANCE = 0.1
# The optional sections of a study: the stages after its edits.
FURTHER_STAGES = {name: None for name, f in StudyConfig.model_fields.items() if f.default is None}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """A model and an editor, by name, and options that override a study's.

    `config` is a study whose settings apply; by default, bundled models use the default study's,
    others the defaults. With `chat`, the model is edited through its chat template, whatever the
    study has. `precision` and `templates`, a file of context templates, replace the study's.
    """

    model: str
    editor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None
    chat: bool = False
    precision: Precision | None = None
    templates: Path | None = None


def model_of(choice: Choice) -> tuple[str, ModelSection]:
    """The label and settings of the chosen model."""
    return _model(choice, _base(choice.model, choice.config))


def settings_without_editor(model: str, config: Path | None) -> tuple[StudyConfig, str]:
    """The settings under which a model is measured that nothing edits, and its label in them.

    They are as for a `Choice`, without editors and data sets.
    """
    found = _base(model, config)
    label, section = named_model(model, found)
    only: dict[str, Any] = {"models": {label: section}, "editors": {}, "datasets": {}}
    if found is None:  # the defaults of a study, which would need an editor
        return StudyConfig.model_construct(**only), label
    return found.model_copy(update=only), label


def study_for(choice: Choice, cases: DatasetSection) -> StudyConfig:
    """The study of the chosen model and editor on `cases`."""
    found = _base(choice.model, choice.config)
    label, model = _model(choice, found)
    models, editors = {label: model}, {choice.editor: _editor(choice, found, label)}
    config = found or StudyConfig(
        models=models,
        editors=editors,
        datasets={CASES: cases},
        moments=MomentSection(tolerance=TOLERANCE),
    )
    config = config.model_copy(update={"models": models, "editors": editors})
    if choice.templates is not None:
        prefixes = config.prefixes.model_copy(update={"path": str(choice.templates)})
        config = config.model_copy(update={"prefixes": prefixes})
    if is_bundled(model.source or label):
        tokens = min(config.moments.tokens or BUNDLED_TOKENS, BUNDLED_TOKENS)
        moments = config.moments.model_copy(update={"tokens": tokens})
        config = config.model_copy(update={"moments": moments})
    return single_study(config, label, choice.editor, cases)


def single_study(
    config: StudyConfig, model: str, editor: str, cases: DatasetSection
) -> StudyConfig:
    """A study reduced to one of its models, one of its editors, and `cases`, all in one shard.

    Both are given by label. The stages after the edits are left out.
    """
    chosen = config.editors[editor]
    options = {label: given for label, given in chosen.options_by_model.items() if label == model}
    return config.model_copy(
        update={
            **FURTHER_STAGES,
            "models": {model: config.models[model]},
            "editors": {editor: chosen.model_copy(update={"options_by_model": options})},
            "datasets": {CASES: cases},
            "shard_size": ONE_SHARD,
        }
    )


def prepare(
    config: StudyConfig,
    where: str,
    cache: Path,
    say: Say,
    registry: "Registry | None" = None,
    load: "Load | None" = None,
) -> "EditJob":
    """The edit job of a `single_study`, with its artefacts in `cache`, where missing ones are made.

    `where` is the place that errors name; `say` is called with each step; the default registry is
    that of the installed plugins. `load` gives the model, by default from where the study has it.
    v* is not made, so the edits search for it. Raises `EditcoreError` for whatever a study would be
    refused for.
    """
    study = plan(config, where, registry)
    (job,) = study.edits.values()
    say("load torch and transformers")
    return _with_artefacts(study, job, cache, say, load)


def rounding_table(
    model: "ModelSpec",
    perplexity: "PerplexitySpec",
    cache: Path,
    say: Say,
    load: "Load | None" = None,
) -> Path:
    """The table in `cache` of what rounding a model does; made if it is missing."""
    from editcore.evaluation.rounding import BITS, compression  # imported late: torch
    from editcore.models.loading import load_spec  # as here and below
    from editcore.runs import rounding

    task = RoundingJob(model=model.plain, perplexity=perplexity)
    files = [*map(str, preflight.model_files(model.source)), perplexity.path]
    formats = [str(compression(bits, model.device).rounded_as) for bits in BITS]
    path = _place(cache, model, task, files, *formats) / "rounding.parquet"
    if not path.exists():
        say(f"measure what rounding the weights of {model.name} does (kept for next time)")
        rounding.run(task, path, load or load_spec)
    return path


def prefix_file(
    job: "PrefixJob", files: Sequence[str], cache: Path, say: Say, load: "Load | None" = None
) -> Path:
    """The file in `cache` with the context prefixes of a model of these files; made if missing."""
    from editcore.models.loading import load_spec
    from editcore.runs import artefacts

    given = job.prefixes.path
    path = _place(cache, job.model, job, [*files, *filter(None, [given])]) / "prefixes.json"
    if not path.exists():
        how = (
            f"take the context templates of {given} for"
            if given
            else "generate the context prefixes of"
        )
        say(f"{how} {job.model.name} (kept for next time)")
        artefacts.write_prefixes(job, path, load or load_spec)
    return path


def calibration_file(job: "EditJob", rule: "CollapseSection", cache: Path) -> Path:
    """The place in `cache` of the warning fitted on a job's model with its editor.

    It is the same whichever cases the job edits, and what is measured besides.
    """
    any_cases = {"dataset": DatasetSpec(name=CASES, path=""), "case_ids": (), "metrics": ()}
    plain = job.model_copy(update={**any_cases, "metric_code": {}, "continuation_tokens": 0})
    files = [*map(str, preflight.model_files(job.model.source)), job.perplexity.path]
    return _place(cache, job.model, plain, files, rule.model_dump_json()) / "warning.json"


def _with_artefacts(
    study: "Study", job: "EditJob", cache: Path, say: Say, given: "Load | None"
) -> "EditJob":
    from editcore.models.loading import load_spec
    from editcore.runs import artefacts

    load = given or load_spec
    files = study.model_files[job.model.name]
    changes: dict[str, Any] = {"values": ()}
    if job.prefixes:
        prefix_job = study.prefixes[job.model.name]
        changes["prefixes"] = str(prefix_file(prefix_job, files, cache, say, load))
    for planned in study.moments.values():
        changes["moments"] = _moments(study, planned, job, cache, say, load)
    changes |= _spectra(study, job, changes.get("moments", {}), cache, say)
    changes["anchors"] = _anchors(study, job, changes.get("prefixes", ""), cache, say, load)
    if job.trained and (training := next(iter(study.training.values()), None)):
        ready = training.model_copy(update=changes)
        path = _place(cache, job.model, ready, (*files, *training.data)) / "trained.safetensors"
        if not path.exists():
            say(f"train {job.editor.label} for {job.model.name} (kept for next time)")
            artefacts.train_editor(ready, path, load=load)
        changes["trained"] = str(path)
    return job.model_copy(update=changes)


def _moments(
    study: "Study", planned: "MomentJob", job: "EditJob", cache: Path, say: Say, load: "Load"
) -> dict[int, str]:
    """The files of second moments in `cache`, by layer.

    A model's own texts are written as they are needed, so what is made from them is found by their
    job and not by their content.
    """
    from editcore.runs import artefacts

    files = study.model_files[job.model.name]
    writing = next((each for each in study.texts.values() if each.spec == planned.texts), None)
    moment_job, sources = planned, [*files, *planned.sources]
    if writing is not None:
        texts = _place(cache, job.model, writing, files) / "texts.json"
        spec = writing.spec.model_copy(update={"path": str(texts)})
        moment_job, sources = planned.model_copy(update={"texts": spec}), [*files]
    folder = _place(cache, job.model, moment_job, sources) / "moments"
    places = {layer: paths.of_layer(folder, layer) for layer in moment_job.layers}
    if not all(place.exists() for place in places.values()):
        optional = "second_moment" in job.editor.options
        without = " (the option second_moment=false edits without C)" if optional else ""
        layers = numbered("layer", planned.layers)
        say(f"make C of {layers} of {job.model.name}, kept in {folder}{without}")
        artefacts.write_moments(moment_job, folder, load=load, say=say, writing=writing)
    return {layer: str(place) for layer, place in places.items()}


def _anchors(
    study: "Study", job: "EditJob", prefixes: str, cache: Path, say: Say, load: "Load"
) -> tuple["AnchorFile", ...]:
    """The norm anchors of a job, in `cache`."""
    from editcore.runs import artefacts

    files = {}
    for key, planned in study.anchors.items():
        anchor_job = planned.model_copy(update={"prefixes": prefixes})
        data = [each.dataset.path for each in planned.sets]
        sources = [prefixes, *data, *study.model_files[job.model.name]]
        path = _place(cache, job.model, anchor_job, sources) / "anchor.safetensors"
        if not path.exists():
            say(f"find the norm of v* in {job.model.name} before any edit (kept for next time)")
            artefacts.write_anchor(anchor_job, path, load)
        files[key.digest] = str(path)
    return tuple(file.model_copy(update={"path": files[file.key]}) for file in job.anchors)


def _spectra(
    study: "Study", job: "EditJob", moments: Mapping[int, str], cache: Path, say: Say
) -> dict[str, Any]:
    """The decompositions of second moments in `cache`, as changes of the job."""
    from editcore.runs import artefacts

    changes = {}
    for planned in study.spectra.values():
        files = {layer: moments[layer] for layer in planned.moments}
        spectrum_job = planned.model_copy(update={"moments": files})
        folder = _place(cache, job.model, spectrum_job, [*files.values()]) / "spectra"
        places = {layer: paths.of_layer(folder, layer) for layer in files}
        if not all(place.exists() for place in places.values()):
            say(f"decompose the second moments of {job.model.name} (kept for next time)")
            artefacts.write_spectra(spectrum_job, folder)
        changes["spectra"] = {layer: str(place) for layer, place in places.items()}
    return changes


def _base(model: str, config: Path | None) -> StudyConfig | None:
    if config is not None:
        return load(config)
    return load(default_study()) if model in bundled_models() else None


def _model(choice: Choice, config: StudyConfig | None) -> tuple[str, ModelSection]:
    """The label and settings of the model, found by label or by source."""
    label, model = named_model(choice.model, config)
    chosen = {
        "chat": model.chat or choice.chat,
        "precision": choice.precision or model.precision,
    }
    return label, validated(ModelSection, model.model_dump() | chosen, f"models.{label}")


def named_model(name: str, config: StudyConfig | None) -> tuple[str, ModelSection]:
    """A study's model by its label or source, or else the model that this is the source of."""
    for label, model in (config.models if config else {}).items():
        if name in (label, model.source):
            return label, model.model_copy(update={"source": model.source or label})
    label = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip("/").split("/")[-1]).lstrip(".")
    return label or "model", validated(ModelSection, {"source": name}, "model")


def _editor(choice: Choice, config: StudyConfig | None, model: str) -> EditorSection:
    """The editor with its options: given ones override those for this model, and these the rest."""
    found = config.editors.get(choice.editor) if config else None
    found = found or validated(EditorSection, {"uses": choice.editor}, "editor")
    options = found.options | found.options_by_model.get(model, {}) | dict(choice.options)
    return found.model_copy(update={"options": options, "options_by_model": {}})


def _place(cache: Path, model: "ModelSpec", job: "Job", files: Sequence[str], *more: str) -> Path:
    """A folder of the cache, named after the model and a hash of what the artefact is made from."""
    content = json.dumps([CACHE_FORMAT, job.as_json(), stamps(files), *more])
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return cache / f"{model.name}-{digest}"
