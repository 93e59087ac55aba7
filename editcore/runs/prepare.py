"""A model and an editor made ready outside a study: options settled, artefacts kept in a cache."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.atomic import write_text
from editcore.config.collapse import CollapseSection
from editcore.config.study import DatasetSection, EditorSection, ModelSection, StudyConfig, load
from editcore.datasets.bundled import bundled_models, resources_folder
from editcore.datasets.writers import flat_record
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.records.provenance import stamps
from editcore.registry.registry import load_registry
from editcore.runs import artefacts

if TYPE_CHECKING:
    from editcore.planning.jobs import EditJob, Job, ModelSpec
    from editcore.planning.study import Study
    from editcore.requests import EditRequest
    from editcore.runs.edit import Shard

CACHE_VARIABLE = "EDITCORE_CACHE"
DATASET = "asked"
# Enough for keys of some hundreds of dimensions, and seconds of work on a small model.
BUNDLED_TOKENS = 50_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """Which model is edited how: names as people give them, and options that go before a study's.

    `config` is a study whose settings apply; left out, bundled models take the default study's,
    others the defaults.
    """

    model: str
    editor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None


def default_cache() -> Path:
    """The folder for artefacts: from the variable, else the user's own cache."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "editcore"


def made_ready(choice: Choice, requests: Sequence["EditRequest"], cache: Path, say: Say) -> "Shard":
    """The requests with model, artefacts and editor loaded; what a cache lacks is made and kept.

    `say` is told each step. Raises `EditcoreError` for whatever a study would be refused for.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "requests.json"
        write_text(data, json.dumps([flat_record(request) for request in requests]))
        study = plan(settled(choice, data), "these options", load_registry())
        (job,) = study.edits.values()
        say("load torch and transformers")
        from editcore.runs.edit import Shard

        job = with_artefacts(study, job, cache, say)
        say(f"load {job.model.name}, and measure its perplexity as it is")
        return Shard.open(job)


def collapse_rule(choice: Choice) -> CollapseSection:
    """When a model counts as collapsed, by the study whose settings apply."""
    found = _base(choice)
    return found.collapse if found else CollapseSection()


def settled(choice: Choice, data: Path) -> StudyConfig:
    """The study of one model, one editor and the requests in `data`, all in one shard."""
    found = _base(choice)
    label, model = _model(choice, found)
    editor = _editor(choice, found, label)
    config = found or StudyConfig(
        models={label: model},
        editors={choice.editor: editor},
        datasets={DATASET: DatasetSection(path=str(data))},
    )
    small = choice.model in bundled_models()
    tokens = min(config.moments.tokens, BUNDLED_TOKENS) if small else config.moments.tokens
    return config.model_copy(
        update={
            "models": {label: model},
            "editors": {choice.editor: editor},
            "datasets": {DATASET: DatasetSection(path=str(data), format="flat")},
            "moments": config.moments.model_copy(update={"tokens": tokens}),
            "shard_size": 1_000_000,
            "sequences": None,
            "downstream": None,
            "mechanism": None,
        }
    )


def with_artefacts(study: "Study", job: "EditJob", cache: Path, say: Say) -> "EditJob":
    """The job with its artefacts in the cache, each made where it is not there yet."""
    files = study.model_files[job.model.name]
    changes: dict[str, Any] = {"values": ()}
    if job.prefixes:
        prefix_job = study.prefixes[job.model.name]
        path = _place(cache, job.model, prefix_job, files) / "prefixes.json"
        if not path.exists():
            say(f"let {job.model.name} write context prefixes (kept for the next time)")
            artefacts.write_prefixes(prefix_job, path)
        changes["prefixes"] = str(path)
    for moment_job in study.moments.values():
        folder = _place(cache, job.model, moment_job, (*files, *moment_job.sources)) / "moments"
        places = {layer: paths.moment(folder, layer) for layer in moment_job.layers}
        if not all(place.exists() for place in places.values()):
            say(f"estimate second moments of {job.model.name} (kept for the next time)")
            artefacts.write_moments(moment_job, folder)
        changes["moments"] = {layer: str(place) for layer, place in places.items()}
    if job.trained and (training := next(iter(study.training.values()), None)):
        ready = training.model_copy(update=changes)
        path = _place(cache, job.model, ready, (*files, *training.data)) / "trained.safetensors"
        if not path.exists():
            say(f"train {job.editor.label} for {job.model.name} (kept for the next time)")
            artefacts.train_editor(ready, path)
        changes["trained"] = str(path)
    return job.model_copy(update=changes)


def _base(choice: Choice) -> StudyConfig | None:
    if choice.config is not None:
        return load(choice.config)
    root = resources_folder()
    default = root.parent / "config.yaml" if root else None
    if choice.model in bundled_models() and default is not None and default.is_file():
        return load(default)
    return None


def _model(choice: Choice, config: StudyConfig | None) -> tuple[str, ModelSection]:
    """The label and settings of the model, found by label or by source."""
    for label, model in (config.models if config else {}).items():
        if choice.model in (label, model.source):
            return label, model.model_copy(update={"source": model.source or label})
    label = re.sub(r"[^A-Za-z0-9_.-]+", "-", choice.model.strip("/").split("/")[-1]).lstrip(".")
    return label or "model", ModelSection(source=choice.model)


def _editor(choice: Choice, config: StudyConfig | None, model: str) -> EditorSection:
    """The editor with the study's options, those of this model and those given, the last first."""
    found = config.editors.get(choice.editor) if config else None
    found = found or EditorSection(uses=choice.editor)
    options = found.options | found.options_by_model.get(model, {}) | dict(choice.options)
    return found.model_copy(update={"options": options, "options_by_model": {}})


def _place(cache: Path, model: "ModelSpec", job: "Job", files: Sequence[str]) -> Path:
    """A folder of the cache that is named by what an artefact is made from."""
    digest = hashlib.sha256(json.dumps([job.as_json(), stamps(files)]).encode()).hexdigest()[:12]
    return cache / f"{model.name}-{digest}"
