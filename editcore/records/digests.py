"""Digests of files: written with the content, and checked on reading."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from editcore.errors import DataError, reading
from editcore.sources.safetensors_header import read_header

DIGEST = "digest"
REMEDY = "delete it and run again"


def check_digest(path: Path, written: object, own: str, remedy: str) -> None:
    """Raise `DataError` if a file has no digest, or one that does not match its content."""
    if written is None:
        raise DataError(
            f"{path} has no digest, so what it contains cannot be checked (editcore before 0.2 "
            f"wrote none); {remedy}"
        )
    if written != own:
        raise DataError(f"{path} has changed since editcore wrote it; {remedy}")


def of_files(paths: Iterable[str]) -> dict[str, str]:
    """By path, the digest in each file of tensors or of prefixes; the content is not checked.

    Raises `DataError` if there is none.
    """
    return {path: _of_file(Path(path)) for path in paths}


def _of_file(path: Path) -> str:
    with reading(path, "digest", REMEDY):
        if path.suffix == ".safetensors":
            return read_header(path, REMEDY).metadata[DIGEST]
        return str(json.loads(path.read_bytes())[DIGEST])


def of_table(table: pa.Table, about: Mapping[bytes, bytes]) -> str:
    """SHA-256 of a table's content and of `about`, whatever the row groups and compression.

    For each column, by name: its type, which rows are null, and the numbers or texts of the others.
    A list counts as its length, and then all lists joined as one column.
    """
    texts = {key.decode(): value.hex() for key, value in about.items()}
    found = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(table.column_names):
        column = table.column(name)
        found.update(json.dumps([name, str(column.type), len(column)]).encode())
        for part in _content(column):
            found.update(part)
    return found.hexdigest()


def _content(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    """Which rows are null, and what the others contain."""
    yield np.packbits(column.is_null().to_numpy()).data
    if pa.types.is_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0)
        yield lengths.to_numpy().astype("<i8").tobytes()
        yield from _content(pc.list_flatten(column))
    else:
        yield from _texts(column) if _is_text(column.type) else _numbers(column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    """The lengths of all texts in bytes, then all texts joined."""
    array = pc.fill_null(column, "").cast(pa.large_binary()).combine_chunks()
    if not len(array):
        return
    _, offsets, content = array.buffers()
    ends = np.frombuffer(offsets, "<i8")[array.offset : array.offset + len(array) + 1]
    yield np.diff(ends).tobytes()
    if content is not None:
        yield memoryview(content)[ends[0] : ends[-1]]


def _numbers(column: pa.ChunkedArray) -> Iterator[bytes]:
    """All numbers or truth values, 0 for null; nothing for other types."""
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = pc.fill_null(column, pa.scalar(0).cast(kind)).to_numpy()
        yield numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
