"""Finds errors before anything runs, in models, data and texts; imports no torch."""

import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.config.messages import shown
from editcore.datasets import task_files
from editcore.datasets.bundled import model_folder
from editcore.datasets.data_file import DataFile
from editcore.datasets.readers import read_dataset, read_texts
from editcore.errors import ConfigError, DataError, ModelError, reading, require
from editcore.registry.registry import Registry
from editcore.requests import EditRequest
from editcore.sources import gguf_model
from editcore.sources.gguf_header import read_header
from editcore.sources.places import gguf_file
from editcore.sources.wheel_file import wheel_file

if TYPE_CHECKING:
    from editcore.planning.jobs import DatasetSpec

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG, CHAT_TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
NO_CHAT = (
    "model {name!r} has no chat template, so it cannot be edited or asked through one; leave "
    "`chat` out, or name the model's instruction-tuned version"
)
# Any of these is enough for transformers to build a tokenizer.
TOKENIZER_FILES = (TOKENIZER_FILE, "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
# The folder in which `editcore apply` keeps old weights, and a suffix while the weights change.
APPLIED = "editcore-applied"
UNFINISHED = ".unfinished"
DEPTH_KEYS = ("num_hidden_layers", "n_layer", "num_layers")


def model_files(source: str) -> list[Path]:
    """The files that a model is loaded from: weights, configuration, tokenizer; or a GGUF file.

    None for a hub id and a wheel. Raises `ModelError` if a folder lacks its configuration, weights
    or tokenizer, or if a change of its weights was interrupted; for a GGUF file as `gguf_file`.
    """
    if (file := gguf_file(source)) is not None:
        # A version of a wheel never changes, wherever its file is kept.
        return [] if wheel_file(source) else [file]
    folder = model_folder(source)
    if folder is None:
        return []
    refuse_interrupted(folder)
    remedy = "save the model there with save_pretrained, its tokenizer too"
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"model folder {folder} has no {CONFIG_FILE}; {remedy}")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"model folder {folder} has no weights (*.safetensors); {remedy}")
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not tokenizer:
        raise ModelError(f"model folder {folder} has no tokenizer (tokenizer.json); {remedy}")
    return [folder / CONFIG_FILE, *weights, *tokenizer]


def refuse_interrupted(folder: Path) -> None:
    """Raise `ModelError` if a change of the weights is in progress or was interrupted."""
    if any((folder / APPLIED).glob(f"*{UNFINISHED}")):
        raise ModelError(
            f"a change of the weights in {folder} is in progress or was interrupted; wait until it "
            f"ends, or run `editcore revert {folder}`, which restores the old weights"
        )


def depth(source: str, revision: str | None = None) -> int | None:
    """The number of blocks; None if the configuration is not on this machine."""
    config = configuration(source, revision)
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    found = next((part[key] for part in parts for key in DEPTH_KEYS if key in part), None)
    if found is None or (isinstance(found, int) and found > 0):
        return found
    raise ModelError(
        f"{source}: its {CONFIG_FILE} gives the number of blocks as {shown(found)}; correct it"
    )


def configuration(source: str, revision: str | None) -> dict[str, Any]:
    """The content of the model's `config.json`, or its main keys from the header of a GGUF file.

    Empty for a hub id that is not on this machine.
    """
    if (gguf := gguf_file(source)) is not None:
        return gguf_model.configuration(gguf)
    file = configuration_file(source, revision)
    if file is None:
        return {}
    with reading(file, "model's configuration", "save the model again"):
        config = json.loads(file.read_text(encoding="utf-8"))
        require(isinstance(config, dict), f"it is a {type(config).__name__}")
        return dict(config)


def configuration_file(source: str, revision: str | None = None) -> Path | None:
    """The model's `config.json`; None if it is not on this machine."""
    return _local_file(source, revision, CONFIG_FILE)


def require_chat(name: str, source: str, revision: str | None) -> None:
    """Raise `ModelError` if model `name` is known to have no chat template.

    Of a hub id that is not on this machine, nothing is known.
    """
    if (gguf := gguf_file(source)) is not None:
        known, there = True, bool(read_header(gguf).fields.get("tokenizer.chat_template"))
    else:
        files = [_local_file(source, revision, n) for n in (TOKENIZER_CONFIG, CHAT_TEMPLATE)]
        # The hub's cache may have been filled without the template's file.
        known = model_folder(source) is not None
        there = files[1] is not None or _config_has_chat(files[0])
    if known and not there:
        raise ModelError(NO_CHAT.format(name=name))


def chat_files(source: str) -> list[Path]:
    """The files in a model's folder that have its chat template; none for other sources."""
    folder = None if gguf_file(source) else model_folder(source)
    names = (TOKENIZER_CONFIG, CHAT_TEMPLATE)
    return [folder / name for name in names if (folder / name).is_file()] if folder else []


def _config_has_chat(file: Path | None) -> bool:
    if file is None:
        return False
    with reading(file, "tokenizer's configuration", "save the tokenizer again"):
        config = json.loads(file.read_text(encoding="utf-8"))
        require(isinstance(config, dict), f"it is a {type(config).__name__}")
        return bool(config.get("chat_template"))


def tokenizer_file(source: str, revision: str | None = None) -> Path | None:
    """The model's `tokenizer.json`; None if there is none on this machine."""
    return _local_file(source, revision, TOKENIZER_FILE)


def _local_file(source: str, revision: str | None, name: str) -> Path | None:
    """A file in the model's folder, or in the local cache of the hub; None if it is not there."""
    gguf = gguf_file(source)
    folder = gguf_model.converted_folder(gguf) if gguf else model_folder(source)
    if folder is not None:
        return file if (file := folder / name).is_file() else None
    # Imported late: only hub ids need it, and it slows the start of every command.
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source, name, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def layers(source: str, revision: str | None, asked: Sequence[int]) -> None:
    """Raise `ConfigError` for a layer outside a model whose number of blocks is known."""
    blocks = depth(source, revision)
    outside = [layer for layer in asked if blocks is not None and not 0 <= layer < blocks]
    if outside and blocks is not None:
        raise ConfigError(
            f"layer {outside[0]} is outside the model {source}, which has {blocks} layers, "
            f"0 to {blocks - 1}; choose one of these, for this model alone in options_by_model"
        )


def cases(file: DataFile, registry: Registry) -> tuple[str, list[EditRequest]]:
    """The format of a data set's records, and their requests in the file's order.

    Raises `DataError` if the file is unusable, `PluginError` if the format is unknown.
    """
    _require_file(file.path)
    found, requests = read_dataset(file, registry)
    if not requests:
        raise DataError(
            f"{file.path}: none of its records asks for an edit; add at least one that does"
        )
    return found, requests


def flaws(datasets: Iterable["DatasetSpec"], registry: Registry) -> Iterator[tuple[str, str]]:
    """The records that cannot be edited: the data set and case, and why."""
    for dataset in datasets:
        for request in read_dataset(dataset.file, registry)[1]:
            if request.flaw:
                yield f"datasets.{dataset.name}, case {request.case_id}", request.flaw


def texts(path: str, count: int | None) -> None:
    """Raise `DataError` if a file has fewer than `count` texts, or none."""
    _require_file(path)
    read_texts(path, count)


def files(paths: Iterable[str]) -> None:
    """Raise `DataError` if one of the files does not exist."""
    for path in paths:
        _require_file(path)


def without_wildcards(paths: Iterable[str]) -> None:
    """Raise `DataError` for a path with braces, which Snakemake takes for wildcards."""
    for path in paths:
        if "{" in path or "}" in path:
            raise DataError(f"{path}: the workflow cannot use paths with braces; rename it")


def _require_file(path: str) -> None:
    without_wildcards([path])
    if not Path(path).is_file():
        raise DataError(
            f"there is no file {path}; paths are relative to the folder that the study runs in, "
            "so correct the path or put the file there"
        )


def tasks(names: Sequence[str]) -> None:
    """Raise `ConfigError` if a task's file or data is missing, or two tasks share a label."""
    labels = [task_files.label(name) for name in names]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two tasks have the name {label}; list each once")
    for name in names:
        without_wildcards(task_files.files(name))
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError("tasks need lm-eval; install editcore[downstream], or leave this out")
