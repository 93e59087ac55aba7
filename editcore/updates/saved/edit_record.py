"""The record of weights that were replaced in a model's folder, from which they can be put back.

A record is a safetensors file with the old tensors, and with the factors of a low-rank change, from
which it can be made again. While the weights change, its name has a special ending: a file with
that ending means that some weights may be old and some new.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from editcore.atomic import rename, replacing, sort_metadata
from editcore.errors import ModelError, reading, require
from editcore.planning.preflight import APPLIED, UNFINISHED
from editcore.records.provenance import versions
from editcore.sources.safetensors_header import Header, TensorPlace, read_header

HOLDS = "weights of an earlier state"
REMEDY = (
    "the old weights are lost; remove this file to keep the weights as they are, "
    "or get the model again"
)
# The dtypes that can be changed, as safetensors and numpy name them. Numpy has no bfloat16: such
# numbers are kept as integers with the same bits.
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


# The tensor that holds a change's factors. No weight has this name.
FACTORS = "editcore.factors"


@dataclass(frozen=True)
class EditRecord:
    """The old bytes of each weight that was replaced, and a digest of its new ones.

    `factors` are those of the change, if it is low-rank, and `about` is what else is known.
    """

    file: Path
    old: Mapping[str, bytes]
    written: Mapping[str, str]
    factors: bytes | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def end(self) -> "EditRecord":
        """Rename the record to mark that all its weights are new."""
        return self._named(self.file.name.removesuffix(UNFINISHED))

    def reopen(self) -> "EditRecord":
        """Rename the record to mark that some of its weights may be old again."""
        return self._named(f"{self.file.name.removesuffix(UNFINISHED)}{UNFINISHED}")

    def save(self, places: Mapping[str, TensorPlace]) -> None:
        """Write the file; `places` are those of the weights in the model."""
        old = {key: digest(content) for key, content in self.old.items()}
        record = {**self.about, "written": self.written, "old": old}
        tensors = {
            key: np.frombuffer(content, number_kind(key, places[key])).reshape(places[key].shape)
            for key, content in self.old.items()
        }
        if self.factors is not None:
            tensors[FACTORS] = np.frombuffer(self.factors, np.uint8)
            record["factors"] = digest(self.factors)
        metadata = {key: json.dumps(value) for key, value in record.items()}
        # Not with safetensors' `save_file`: if killed, it leaves a file whose name we do not know.
        with replacing(self.file) as partial:
            partial.write_bytes(save(tensors, metadata))
            sort_metadata(partial)

    def _named(self, name: str) -> "EditRecord":
        return replace(self, file=rename(self.file, name))


@dataclass(frozen=True)
class RecordHeader:
    """What a record contains besides tensors: digests of weights before and after, and the rest."""

    old: Mapping[str, str]
    written: Mapping[str, str]
    about: Mapping[str, Any]


def number_of(file: Path) -> int:
    """The number of an edit, which is the name of its record."""
    return int(file.name.partition(".")[0])


def applied(folder: Path) -> list[Path]:
    """The records of changes in force, in the order in which they were made."""
    found = (folder / APPLIED).glob("*.safetensors")
    return sorted((file for file in found if file.stem.isdigit()), key=number_of)


def unfinished(folder: Path) -> Path | None:
    """The record of a change that was begun but not finished, if there is one."""
    return min((folder / APPLIED).glob(f"*.safetensors{UNFINISHED}"), default=None)


def read_header_of(file: Path) -> RecordHeader:
    """What a record contains besides tensors; `DataError` if that is damaged."""
    with reading(file, HOLDS, REMEDY):
        return _parsed(read_header(file, REMEDY))


def read_record(file: Path) -> EditRecord:
    """Read a record; `DataError` if it is damaged."""
    with reading(file, HOLDS, REMEDY):
        header = read_header(file, REMEDY)
        found = _parsed(header)
        about, sums = dict(found.about), dict(found.old)
        if "factors" in about:
            sums[FACTORS] = about.pop("factors")
        contents = {key: header.places[key].read() for key in sums}
        for key, content in contents.items():
            require(digest(content) == sums[key], f"{key} is damaged")
    factors = contents.pop(FACTORS, None)
    return EditRecord(file, contents, found.written, factors, about)


def _parsed(header: Header) -> RecordHeader:
    about = {key: json.loads(text) for key, text in header.metadata.items()}
    written, old = dict(about.pop("written")), dict(about.pop("old"))
    require(written.keys() == old.keys(), "its lists of weights differ")
    return RecordHeader(old, written, about)


def begin_record(
    folder: Path,
    places: Mapping[str, TensorPlace],
    new: Mapping[str, bytes],
    factors: bytes | None,
    about: Mapping[str, Any],
) -> EditRecord:
    """Write the record of a change before the first weight is replaced, with the old bytes."""
    number = max(map(number_of, applied(folder)), default=0) + 1
    file = folder / APPLIED / f"{number:04d}.safetensors{UNFINISHED}"
    old = {key: places[key].read() for key in new}
    written = {key: digest(content) for key, content in new.items()}
    record = EditRecord(file, old, written, factors, {**about, "versions": versions()})
    record.save(places)
    return record


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
