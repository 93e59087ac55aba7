"""What the header gives is what safetensors wrote, and other files are refused."""

import json
from pathlib import Path

import pytest
import torch

from editcore.atomic import write_tensors
from editcore.errors import DataError
from editcore.records.safetensors_header import read_header

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.float16)}


def test_the_bytes_at_each_place_are_the_tensor_s(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(file, TENSORS, {"made_by": "a test"})
    header = read_header(file)
    assert header.metadata == {"made_by": "a test"}
    assert header.places.keys() == TENSORS.keys()
    for name, (first, size) in header.places.items():
        content = file.read_bytes()[first : first + size]
        read = torch.frombuffer(bytearray(content), dtype=TENSORS[name].dtype)
        assert torch.equal(read, TENSORS[name].flatten())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1 and something else",
        (2**63).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": {}}',
        (5).to_bytes(8, "little") + b'{"a":',
        (4).to_bytes(8, "little") + b"\xff\xfe{}",
    ],
)
def test_what_is_no_header_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    file.write_bytes(content)
    with pytest.raises(DataError, match="holds no tensors"):
        read_header(file)


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    file = tmp_path / "t.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"xy")
    assert read_header(file).metadata == {}
    assert read_header(file).places == {"a": (8 + len(header), 2)}
