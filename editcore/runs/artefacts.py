"""Makes the artefacts that edits need: prefixes, second moments, their spectra, v*, training."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from editcore.datasets.readers import read_texts
from editcore.datasets.templates import read_templates
from editcore.editing import norm_anchor, trained
from editcore.editing.session import Session
from editcore.keyvalue import (
    prefixes,
    published_moment,
    second_moment,
    spectrum,
    value_file,
)
from editcore.keyvalue.estimation import moment_accumulator, own_texts
from editcore.keyvalue.estimation.moment_accumulator import MomentCheckpoint
from editcore.keyvalue.estimation.own_texts import OwnTexts
from editcore.keyvalue.estimation.speed import announced, reading_speed
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.spectrum import MomentSpectrum
from editcore.keyvalue.value_search import find_values
from editcore.models.loading import Load, LoadedModel, load_spec
from editcore.numbers import numbered
from editcore.planning import paths, preflight
from editcore.planning.artefacts.anchors import AnchorJob
from editcore.planning.artefacts.spectra import SpectrumJob
from editcore.planning.jobs import (
    Job,
    ModelSpec,
    MomentJob,
    PrefixJob,
    TextJob,
    TrainJob,
    ValueJob,
)
from editcore.progress import note
from editcore.records import digests
from editcore.records.checkpoint import Checkpoint
from editcore.records.provenance import as_metadata, of_job, stamps, versions
from editcore.registry.registry import load_registry
from editcore.requests import SLOT
from editcore.runs.cases import posed_cases

Say = Callable[[str], None]

MOMENT_CHECKPOINT_SECONDS = 120.0
TRAINING_CHECKPOINT_SECONDS = 60.0
TEXT_CHECKPOINT_SECONDS = 60.0


def write_prefixes(job: PrefixJob, out: Path, load: Load = load_spec) -> None:
    """Save the context templates of one model: those of a file, or sampled ones."""
    choice = job.prefixes
    if choice.path is not None:
        templates = read_templates(Path(choice.path))
        given = prefixes.ContextPrefixes((SLOT, *templates), job.model.name, job.seed)
        return prefixes.save(given, out)
    model = load(job.model, load_registry())
    sampled = prefixes.sample_prefixes(model, choice.lengths, choice.seeds, job.seed)
    return prefixes.save(sampled, out)


def write_values(job: ValueJob, out: Path) -> None:
    """Search for v* of a job's cases and save it."""
    registry = load_registry()
    model = load_spec(job.model, registry)
    requests = posed_cases(model, job.dataset, job.case_ids, registry)
    context = prefixes.load(Path(job.prefixes))
    started = time.perf_counter()
    templates = context.last(job.options.sampled_templates)
    values = find_values(model, requests, templates, job.options)
    seconds = time.perf_counter() - started
    by_case = {r.case_id: value for r, value in zip(requests, values, strict=True)}
    about = as_metadata(of_job(job, prefixes_hash=context.hash))
    value_file.save(by_case, out, about, seconds)


def write_texts(
    job: TextJob,
    out: Path,
    seconds: float = TEXT_CHECKPOINT_SECONDS,
    load: Load = load_spec,
    say: Say = note,
) -> None:
    """Let the model of a job write texts, and save them; `say` is called with the time it takes.

    Beside `out`, the texts so far are kept every `seconds`; a run that was killed continues from
    there.
    """
    model = load(job.model, load_registry())
    checkpoint = _text_checkpoint(job, out, seconds)
    texts = OwnTexts(model, job.tokens, job.seed, checkpoint)
    work = f"let {job.model.name} write {job.tokens:,} tokens of text"
    if duration := texts.seconds():
        say(announced(work, job.tokens, duration))
    own_texts.save(list(texts), out)
    checkpoint.remove()


def write_moments(
    job: MomentJob,
    folder: Path,
    seconds: float = MOMENT_CHECKPOINT_SECONDS,
    load: Load = load_spec,
    say: Say = note,
    writing: TextJob | None = None,
) -> None:
    """Write the second moment of each layer that a job names, measured or as published.

    `say` is called with how long it takes, before it starts. The sums of a measurement are saved
    next to the folder every `seconds`; an interrupted run resumes from them. With `writing`, the
    model writes the job's texts itself, only as many as are needed, and they are kept in their
    file, which a later job may continue.
    """
    about = as_metadata(of_job(job))
    checkpoint = _moment_checkpoint(job, folder, seconds)
    if job.published is not None:
        moments = _published(job)
    else:
        model = load(job.model, load_registry())
        with _texts(job, model, writing, say) as texts:
            assert job.texts is not None
            moments = moment_accumulator.measure_moments(
                model, job.layers, texts, job.texts.tokens, checkpoint, job.tolerance, say
            )
    for layer, moment in moments.items():
        place = paths.of_layer(folder, layer)
        second_moment.save(moment, place, about | {"made_from": job.source(layer)})
    checkpoint.remove()


def write_spectra(job: SpectrumJob, folder: Path) -> None:
    """Decompose the second moment of each layer that a job names, and save the result."""
    about = as_metadata(of_job(job))
    for layer, file in job.moments.items():
        digest = digests.of_files([file])[file]
        found = MomentSpectrum.of(second_moment.load(Path(file)), digest)
        place = paths.of_layer(folder, layer)
        spectrum.save(found, place, job.model, about | {"made_from": file})


def write_anchor(job: AnchorJob, out: Path, load: Load = load_spec) -> None:
    """Search for v* of a job's facts in the unedited model, and save the norms.

    Facts without v* are left out; raises `DataError` if none has one.
    """
    registry = load_registry()
    model = load(job.model, registry)
    requests = [
        request
        for each in job.sets
        for request in posed_cases(model, each.dataset, each.case_ids, registry)
    ]
    context = prefixes.load(Path(job.prefixes))
    templates = context.last(job.options.sampled_templates)
    values = find_values(model, requests, templates, job.options)
    anchor = norm_anchor.measure(model, requests, values, job.options)
    about = as_metadata(of_job(job, prefixes_hash=context.hash))
    norm_anchor.save(anchor, out, job.model, job.key.digest, about)


def _published(job: MomentJob) -> dict[int, SecondMoment]:
    return {layer: published_moment.read(Path(job.source(layer)), layer) for layer in job.layers}


@contextmanager
def _texts(
    job: MomentJob, model: LoadedModel, writing: TextJob | None, say: Say
) -> Iterator[Iterable[str]]:
    """A block that reads the texts of a job; what the model wrote in it is kept at its end."""
    assert job.texts is not None
    spec, path = job.texts, Path(job.texts.path)
    seconds = spec.tokens / reading_speed(model, job.layers)
    work = f"estimate C of {numbered('layer', job.layers)} of {model.name} from"
    if writing is None:
        work = f"{work} at most {spec.tokens:,} tokens of {path}"
        say(announced(work, spec.tokens, seconds, job.tolerance))
        yield read_texts(path, None)
        return
    checkpoint = _text_checkpoint(writing, path, TEXT_CHECKPOINT_SECONDS)
    kept = read_texts(path, None) if path.exists() else ()
    texts = OwnTexts(model, writing.tokens, writing.seed, checkpoint, kept)
    work = f"{work} {spec.tokens:,} tokens that it writes itself"
    say(announced(work, spec.tokens, seconds + texts.seconds(), job.tolerance))
    yield texts
    own_texts.save(texts.texts, path)
    checkpoint.remove()


def _text_checkpoint(job: TextJob, out: Path, seconds: float) -> Checkpoint:
    path = out.with_name(f"{out.stem}.checkpoint.safetensors")
    return Checkpoint(path, _identity(job, job.model, []), seconds)


def _moment_checkpoint(job: MomentJob, folder: Path, seconds: float) -> MomentCheckpoint:
    """A file next to the folder, which the workflow empties before each attempt."""
    sizes = (
        moment_accumulator.BATCH_TOKENS,
        moment_accumulator.WINDOW_TOKENS,
        moment_accumulator.PRODUCT_TOKENS,
    )
    sources = [file for file in job.sources if Path(file).exists()]
    identity = _identity(job, job.model, sources, *sizes)
    path = folder.with_name(f"{folder.name}.checkpoint.safetensors")
    return MomentCheckpoint(path, identity, seconds)


def train_editor(
    job: TrainJob,
    out: Path,
    seconds: float = TRAINING_CHECKPOINT_SECONDS,
    load: Load = load_spec,
) -> None:
    """Train the editor of a job for its model and write what it learnt.

    The editor's progress is saved next to `out` every `seconds`; an interrupted run resumes from
    it.
    """
    session = Session.open(job, load_registry(), load)
    path = out.with_name(f"{out.stem}.checkpoint.safetensors")
    checkpoint = Checkpoint(path, _identity(job, job.model, job.data), seconds)
    learnt = session.editor.train(session.context, [Path(file) for file in job.data], checkpoint)
    layers = session.editor.config.edited_layers()
    trained.save_trained(learnt, out, session.context.model, layers, job.model_dump_json())
    checkpoint.remove()


def _identity(
    job: Job, model: ModelSpec, sources: "list[str] | tuple[str, ...]", *more: int
) -> str:
    """What a checkpoint belongs to: the job, its files as they are now, and package versions."""
    files = [*map(Path, sources), *preflight.model_files(model.source)]
    return json.dumps([job.model_dump(mode="json"), stamps(files), versions(), *more])
