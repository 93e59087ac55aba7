"""Checks that what a job names exists: models, files and plugins; imports no torch."""

from collections.abc import Iterator

from pydantic import BaseModel

from editcore.planning import editor_options, preflight
from editcore.planning.artefacts.anchors import AnchorJob
from editcore.planning.artefacts.spectra import SpectrumJob
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    EditorJob,
    Job,
    ModelSpec,
    MomentJob,
    PerplexitySpec,
    PrefixJob,
    SequenceJob,
    TextSpec,
    TrainJob,
    TransformSpec,
    ValueJob,
)
from editcore.planning.stages.jobs import (
    DownstreamJob,
    EditFiles,
    LayersJob,
    MechanismJob,
    TuningSpec,
)
from editcore.registry.hookspecs import AUTO
from editcore.registry.registry import Registry


def require(job: Job, registry: Registry) -> None:
    """Raise `EditcoreError` for the first thing that a job names and that does not exist.

    Hub ids are checked when the model is loaded.
    """
    if isinstance(job, EditorJob):
        _require_editor(job, registry)
    for part in _parts(job):
        _require_other(part, registry)
    preflight.files(file for part in _parts(job) for file in _files(part))


def _require_editor(job: EditorJob, registry: Registry) -> None:
    found, model = registry.editors[job.editor.uses], job.model
    place = f"editor.options of {job.editor.label}"
    options = editor_options.checked(found, job.editor.options, registry, place)
    preflight.layers(model.source, model.revision, options.edited_layers())


def _require_other(part: BaseModel, registry: Registry) -> None:
    """Check the models, plugins and tasks of one part."""
    match part:
        case ModelSpec():
            preflight.model_files(part.source)
        case DatasetSpec():
            _ = part.format == AUTO or registry.dataset_formats[part.format]
        case TransformSpec():
            _ = registry.transforms[part.uses]
        case EditJob():
            _ = [registry.metrics[name] for name in part.metrics]
        case SequenceJob() | DownstreamJob() if part.tasks:
            preflight.tasks(part.tasks)
        case MechanismJob() if part.encoder:
            preflight.model_files(part.encoder)


def _files(part: BaseModel) -> Iterator[str]:
    """The files that one part of a job reads, without those of its own parts."""
    match part:
        case DatasetSpec() | PerplexitySpec() | TextSpec() | TuningSpec():
            yield part.path
        case EditFiles():
            yield from (part.rows, part.deltas)
        case PrefixJob() if part.prefixes.path:
            yield part.prefixes.path
        case ValueJob() | LayersJob() | AnchorJob():
            yield part.prefixes
        case MomentJob():
            yield from part.sources
        case SpectrumJob():
            yield from part.moments.values()
        case EditorJob():
            yield from part.artefacts
            yield from part.data if isinstance(part, TrainJob) else ()


def _parts(value: object) -> Iterator[BaseModel]:
    """A job and all its parts, recursively."""
    if isinstance(value, BaseModel):
        yield value
        for _, inner in value:
            yield from _parts(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _parts(inner)
