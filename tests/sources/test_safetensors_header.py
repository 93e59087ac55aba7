"""A header gives exactly what safetensors wrote, and other files are refused."""

import json
import struct
from pathlib import Path

import pytest
import torch

from editcore.atomic import write_tensors
from editcore.errors import DataError
from editcore.sources.safetensors_header import TensorPlace, read_header

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.float16)}


def test_the_bytes_at_each_place_are_the_tensor_s(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(file, TENSORS, {"made_by": "a test"})
    header = read_header(file)
    assert header.metadata == {"made_by": "a test"}
    assert header.places.keys() == TENSORS.keys()
    for name, place in header.places.items():
        assert place.shape == tuple(TENSORS[name].shape)
        assert file.read_bytes()[place.start : place.start + place.size] == place.read()
        read = torch.frombuffer(bytearray(place.read()), dtype=TENSORS[name].dtype)
        assert torch.equal(read, TENSORS[name].flatten())


def written(header: object, data: int = 0) -> bytes:
    """A file with this header and `data` further bytes."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1 and something else",
        (2**63).to_bytes(8, "little") + b"{}",
        (10_000_000).to_bytes(8, "little") + b"{}",
        (5).to_bytes(8, "little") + b'{"a":',
        (4).to_bytes(8, "little") + b"\xff\xfe{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        written([]),
        written({"a": {}}),
        written({"a": 3}),
        written({"__metadata__": {"a": 3}}),
        written({"a": ONE}, data=4),
        written({"a": ONE}, data=12),
        written({"a": ONE | {"shape": [3]}}, data=8),
        written({"a": ONE | {"data_offsets": [8, 0]}}, data=8),
        written({"a": ONE, "b": ONE}, data=8),
    ],
)
def test_an_invalid_file_of_tensors_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    file.write_bytes(content)
    with pytest.raises(DataError, match="contains no tensors"):
        read_header(file)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*t\.safetensors"):
        read_header(tmp_path / "t.safetensors")
    (tmp_path / "t.safetensors").mkdir()
    with pytest.raises(DataError, match="contains no tensors"):
        read_header(tmp_path / "t.safetensors")


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    content = written({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}, data=2)
    file.write_bytes(content)
    assert read_header(file).metadata == {}
    place = TensorPlace(file, len(content) - 2, 2, "U8", (2,))
    assert read_header(file).places == {"a": place}
