"""How a file of results came to be: what is written into it, and how to read it."""

import contextlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from editcore.errors import DataError

MADE_WITH = ("editcore", "torch", "transformers", "tokenizers", "numpy", "polars", "pyarrow")
HEADER_LENGTH_BYTES = 8
# A header longer than this is no header: the format's own limit.
LONGEST_HEADER = 100_000_000


def versions() -> dict[str, str]:
    """Python's version and those of the packages that numbers depend on."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in MADE_WITH
    }


def read(path: Path) -> dict[str, Any]:
    """The record that editcore put into a Parquet or safetensors file.

    Raises `DataError` where the file is missing, of another kind, or says nothing.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a table or tensors that editcore wrote")
    if path.suffix == ".safetensors":
        return _of_tensors(path)
    if path.suffix == ".parquet":
        from editcore.store import read_provenance

        return read_provenance(path)
    raise DataError(f"{path}: only .parquet and .safetensors files carry provenance")


def _of_tensors(path: Path) -> dict[str, Any]:
    """The metadata of a safetensors file, whose header is JSON behind its own length."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
            metadata = json.loads(file.read(min(length, LONGEST_HEADER))).get("__metadata__")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} is no safetensors file ({error}); make it anew") from None
    if not metadata:
        raise DataError(f"{path} carries no provenance, so editcore did not write it")
    return {key: _decoded(value) for key, value in metadata.items()}


def _decoded(value: str) -> Any:
    """Metadata are strings; those that hold JSON are shown as what they hold."""
    with contextlib.suppress(ValueError):
        return json.loads(value)
    return value
