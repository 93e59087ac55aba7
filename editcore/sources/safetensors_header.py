"""Reads the header of a safetensors file: metadata, and the place of each tensor.

A file begins with the header's length in eight little-endian bytes; then come the header, as JSON,
and the bytes of the tensors (https://huggingface.co/docs/safetensors).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from editcore.errors import reading

LENGTH_BYTES = 8


@dataclass(frozen=True)
class TensorPlace:
    """The place of a tensor: its file, first byte and number of bytes, and its dtype.

    `dtype` is the format's own name, such as `F32`.
    """

    file: Path
    start: int
    size: int
    dtype: str
    shape: tuple[int, ...]

    def read(self) -> bytes:
        """The tensor's bytes."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


@dataclass(frozen=True)
class Header:
    """The metadata as written, and the place of each tensor by name."""

    metadata: Mapping[str, str]
    places: Mapping[str, TensorPlace]


def read_header(path: Path, remedy: str = "write it again") -> Header:
    """The header of a file; raises `DataError` if it is invalid or does not match the file."""
    with reading(path, "tensors", remedy):
        _check(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            entries = json.loads(file.read(length))
        metadata = entries.pop("__metadata__", None) or {}
        places = {
            name: TensorPlace(
                path,
                LENGTH_BYTES + length + entry["data_offsets"][0],
                entry["data_offsets"][1] - entry["data_offsets"][0],
                entry["dtype"],
                tuple(entry["shape"]),
            )
            for name, entry in entries.items()
        }
    return Header(metadata, places)


def _check(path: Path) -> None:
    """Let the library check lengths, offsets and shapes; raises `ValueError` if it refuses."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(str(error)) from error
