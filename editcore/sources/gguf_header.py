"""The header of a GGUF file, read without its tensors and without torch.

A file begins with `GGUF`, the version, the number of tensors and of fields; the fields follow, each
a name, a type and a value, then the table of tensors
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from editcore.errors import reading, require

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
# The format of a field's value, by the number that the file gives for its type.
SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
# Kinds of numbers: name, how many make a block, and a block's bytes. Kinds without an entry cannot
# be dequantised.
KINDS = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
ALIGNMENT = "general.alignment"
DEEPEST_ARRAY = 4
MOST_DIMENSIONS = 4

Value = int | float | bool | str


@dataclass(frozen=True)
class Header:
    """A file's fields that are single values, and how many numbers each kind has, by tensor name.

    `tensors` are pairs of (kind, number of elements).
    """

    fields: Mapping[str, Value]
    tensors: Mapping[str, tuple[str, int]]

    @property
    def architecture(self) -> str:
        """The kind of model, in GGUF's own words, such as `llama`."""
        return str(self.fields["general.architecture"])

    @property
    def precision(self) -> str:
        """The kind that most of the weights are stored as, such as `Q4_1`."""
        counts: Counter[str] = Counter()
        for kind, elements in self.tensors.values():
            counts[kind] += elements
        return max(counts, key=lambda kind: counts[kind])


def read_header(file: Path) -> Header:
    """The header of a file; `DataError` if it has none, or if tensors that it lists are cut off."""
    with reading(file, "GGUF model that can be read", "download it again"):
        size = file.stat().st_size
        require(size > 0, "it is empty")
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _Reader(m, size).header()


class _Reader:
    """Takes a file's bytes apart, from the first to the last of its header."""

    def __init__(self, content: mmap.mmap, size: int) -> None:
        self._content = content
        self._size = size
        self._at = 0

    def header(self) -> Header:
        require(self._bytes(4) == MAGIC, "it does not begin with the letters GGUF")
        version = self._number("<I")
        require(version in VERSIONS, f"its version is {version}, and versions 2 and 3 can be read")
        tensor_count, field_count = self._number("<Q"), self._number("<Q")
        fields: dict[str, Value] = {}
        for _ in range(field_count):
            name, value = self._string(), self._value(self._number("<I"))
            if value is not None:
                fields[name] = value
        require("general.architecture" in fields, "it does not name its architecture")
        tensors, needed = self._tensors(tensor_count)
        start = _aligned(self._at, int(fields.get(ALIGNMENT, 32)))
        require(tensor_count > 0, "it has no tensors")
        require(
            start + needed <= self._size,
            f"its tensors take {start + needed:,} bytes, and it has {self._size:,}: it is cut off",
        )
        return Header(fields, tensors)

    def _tensors(self, count: int) -> tuple[dict[str, tuple[str, int]], int]:
        """The tensors, and the byte after the last of them, from where their content begins."""
        found: dict[str, tuple[str, int]] = {}
        needed = 0
        for _ in range(count):
            name, dimensions = self._string(), self._number("<I")
            require(dimensions <= MOST_DIMENSIONS, f"{name} has {dimensions} dimensions")
            shape = [self._number("<Q") for _ in range(dimensions)]
            number, offset = self._number("<I"), self._number("<Q")
            require(number in KINDS, f"{name} is stored as kind {number}, which cannot be read")
            kind, block, size = KINDS[number]
            elements = prod(shape)
            require(elements % block == 0, f"{name} is no whole number of blocks of {kind}")
            found[name] = kind, elements
            needed = max(needed, offset + elements // block * size)
        return found, needed

    def _value(self, kind: int, depth: int = 0) -> Value | None:
        """The value of a field; None for an array, which is skipped."""
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            require(kind in SCALARS, f"one of its fields is of type {kind}")
            value: Value = self._number(SCALARS[kind])
            return value
        require(depth < DEEPEST_ARRAY, "its arrays are nested too deeply")
        inner, length = self._number("<I"), self._number("<Q")
        if inner in SCALARS:
            self._skip(length * struct.calcsize(SCALARS[inner]))
        elif inner == STRING:
            self._skip_strings(length)
        else:
            for _ in range(length):
                self._value(inner, depth + 1)
        return None

    def _skip_strings(self, count: int) -> None:
        """Pass over strings; a vocabulary has more than 100,000, so their content stays unread."""
        content, length, at = self._content, struct.Struct("<Q"), self._at
        for _ in range(count):
            require(at + length.size <= self._size, f"its header is cut off at {at:,} bytes")
            at += length.size + length.unpack_from(content, at)[0]
        self._at = at
        self._skip(0)

    def _string(self) -> str:
        return self._bytes(self._number("<Q")).decode("utf-8", errors="replace")

    def _number(self, format: str) -> Any:
        start = self._at
        self._skip(struct.calcsize(format))
        return struct.unpack_from(format, self._content, start)[0]

    def _bytes(self, length: int) -> bytes:
        start = self._at
        self._skip(length)
        return self._content[start : self._at]

    def _skip(self, length: int) -> None:
        self._at += length
        require(self._at <= self._size, f"its header is cut off after {self._size:,} bytes")


def _aligned(place: int, alignment: int) -> int:
    """The next place that is a multiple of the alignment."""
    require(0 < alignment < 2**20, f"its tensors are aligned to {alignment} bytes")
    return -(-place // alignment) * alignment
