"""Downloads the models of a study once, so that everything else can run without a network."""

import json
from pathlib import Path

from editcore.atomic import write_text
from editcore.bundled import model_folder
from editcore.config import StudyConfig
from editcore.errors import ModelError

# Weights as safetensors alone: other formats can run code, and are as large again.
WANTED = ("*.json", "*.safetensors", "*.model", "*.txt")


def run(config: StudyConfig, out: Path) -> None:
    """Fetch each model that is a hub id into the hub's cache; to `out` goes the commit of each.

    What is in the cache already is only checked. Raises `ModelError` where a model cannot be had,
    or its revision does not exist.
    """
    commits: dict[str, str] = {}
    for label, choice in config.models.items():
        source = choice.source or label
        if model_folder(source) is None:
            commits[label] = _fetch(label, source, choice.revision)
    write_text(out, json.dumps(commits, indent=2, sort_keys=True) + "\n")


def _fetch(label: str, source: str, revision: str | None) -> str:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(source, revision=revision, allow_patterns=list(WANTED))
    except Exception as error:  # each layer below the hub's client has errors of its own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"models.{label}: {source!r} at {revision or 'its newest revision'} cannot be "
            f"fetched: {reason}; check name, revision, access and network"
        ) from error
    if not list(Path(folder).glob("*.safetensors")):
        raise ModelError(f"models.{label}: {source!r} has no weights as safetensors; convert it")
    # The cache keeps each commit in a folder of its name.
    return Path(folder).name
