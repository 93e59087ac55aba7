"""The header of a safetensors file, read without its tensors: metadata, and where each tensor is.

A file begins with the header's length, eight bytes, the least first; the header is JSON, and the
bytes of the tensors follow (https://huggingface.co/docs/safetensors).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from editcore.errors import reading, require

LENGTH_BYTES = 8
LONGEST = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class Header:
    """Metadata as written, and each tensor's first byte in the file and number of bytes."""

    metadata: Mapping[str, str]
    places: Mapping[str, tuple[int, int]]


def read_header(path: Path) -> Header:
    """The header of a file; `DataError` where it has none."""
    with reading(path, "tensors", "write it again"):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            require(length <= LONGEST, f"a header of {length} bytes")
            entries = json.loads(file.read(length))
        metadata = {str(key): str(text) for key, text in entries.pop("__metadata__", {}).items()}
        offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
        data = LENGTH_BYTES + length
        places = {name: (data + first, last - first) for name, (first, last) in offsets.items()}
    return Header(metadata, places)
