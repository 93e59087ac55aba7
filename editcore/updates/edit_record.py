"""The record of weights that were replaced in a model's folder, from which they can be put back.

A record is a safetensors file with the old tensors. While the weights change, its name has a
special ending: a file with that ending means that some weights may be old and some new.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from editcore.atomic import rename, replacing, sort_metadata
from editcore.errors import ModelError, reading, require
from editcore.planning.preflight import APPLIED, UNFINISHED
from editcore.records.provenance import versions
from editcore.sources.safetensors_header import TensorPlace, read_header

REMEDY = (
    "the old weights are lost; remove this file to keep the weights as they are, "
    "or get the model again"
)
# The dtypes that can be changed, as safetensors and numpy name them. Numpy has no bfloat16: such
# numbers are kept as integers with the same bits.
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


@dataclass(frozen=True)
class EditRecord:
    """The old bytes of each weight that was replaced, and a digest of its new ones."""

    file: Path
    old: Mapping[str, bytes]
    written: Mapping[str, str]

    def end(self) -> "EditRecord":
        """Rename the record to mark that all its weights are new."""
        return self._named(self.file.name.removesuffix(UNFINISHED))

    def reopen(self) -> "EditRecord":
        """Rename the record to mark that some of its weights may be old again."""
        return self._named(f"{self.file.name.removesuffix(UNFINISHED)}{UNFINISHED}")

    def _named(self, name: str) -> "EditRecord":
        return replace(self, file=rename(self.file, name))


def applied(folder: Path) -> list[Path]:
    """The records of changes in force, in the order in which they were made."""
    return sorted((folder / APPLIED).glob("*.safetensors"))


def unfinished(folder: Path) -> Path | None:
    """The record of a change that was begun but not finished, if there is one."""
    return min((folder / APPLIED).glob(f"*.safetensors{UNFINISHED}"), default=None)


def read_record(file: Path) -> EditRecord:
    """Read a record; `DataError` if it is damaged."""
    with reading(file, "weights of an earlier state", REMEDY):
        header = read_header(file, REMEDY)
        written = dict(json.loads(header.metadata["written"]))
        digests = dict(json.loads(header.metadata["old"]))
        require(written.keys() == digests.keys(), "its lists of weights differ")
        old = {key: header.places[key].read() for key in written}
        for key, content in old.items():
            require(digest(content) == digests[key], f"{key} is damaged")
    return EditRecord(file, old, written)


def begin_record(
    folder: Path,
    places: Mapping[str, TensorPlace],
    new: Mapping[str, bytes],
    about: Mapping[str, Any],
) -> EditRecord:
    """Write the record of a change before the first weight is replaced, with the old bytes."""
    number = max((int(file.stem) for file in applied(folder) if file.stem.isdigit()), default=0) + 1
    old = {key: places[key].read() for key in new}
    written = {key: digest(content) for key, content in new.items()}
    file = folder / APPLIED / f"{number:04d}.safetensors{UNFINISHED}"
    record = {
        **about,
        "written": written,
        "old": {key: digest(content) for key, content in old.items()},
        "versions": versions(),
    }
    metadata = {key: json.dumps(value) for key, value in record.items()}
    tensors = {
        key: np.frombuffer(content, number_kind(key, places[key])).reshape(places[key].shape)
        for key, content in old.items()
    }
    # Not with safetensors' `save_file`: if killed, it leaves a file whose name we do not know.
    with replacing(file) as partial:
        partial.write_bytes(save(tensors, metadata))
        sort_metadata(partial)
    return EditRecord(file, old, written)


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return sha256(content).hexdigest()


def number_kind(key: str, place: TensorPlace) -> str:
    """The dtype of a weight as numpy names it; `ModelError` for one that cannot be changed."""
    if place.dtype not in FLOATS:
        raise ModelError(
            f"{place.file} stores {key} as {place.dtype}, but only {', '.join(FLOATS)} can be "
            "changed; use the model in one of these, not quantised"
        )
    return FLOATS[place.dtype]
