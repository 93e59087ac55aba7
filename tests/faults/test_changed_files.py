"""Files that were changed after editcore wrote them: one error that names the file."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from editcore.errors import DataError
from editcore.keyvalue import prefixes, second_moment, value_file
from editcore.records import provenance
from editcore.records.checkpoint import Checkpoint
from editcore.records.code_versions import described
from editcore.records.tables import EDITS, read_edits, write_table
from editcore.records.tensors import save_tensors
from editcore.updates.delta import load_deltas
from tests.rows import edit_row

CPU = torch.device("cpu")
VALUES: Mapping[str, torch.Tensor] = {
    "cases": torch.tensor([1, 2]),
    "initial": torch.ones(2, 4),
    "delta": torch.ones(2, 4),
    "steps": torch.tensor([3, 3]),
    "loss": torch.ones(2).double(),
}


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({}, "[]"),
        ({}, '{"x": "no number"}'),
        ({}, "no JSON"),
        ({"steps": torch.tensor([3])}, "{}"),
        ({"delta": torch.ones(2, 5)}, "{}"),
        ({"initial": torch.ones(3, 4), "delta": torch.ones(3, 4)}, "{}"),
        ({"initial": torch.ones(2), "delta": torch.ones(2)}, "{}"),
        ({"delta": torch.ones(2, 4, dtype=torch.int8)}, "{}"),
    ],
)
def test_malformed_values_are_named(
    tmp_path: Path, changed: Mapping[str, torch.Tensor], reasons: str
) -> None:
    path = tmp_path / "v.safetensors"
    save_tensors(path, {**VALUES, **changed}, {"reasons": reasons})
    with pytest.raises(DataError, match=r"v\.safetensors contains no values"):
        value_file.load(path, CPU)


@pytest.mark.parametrize(
    ("tensors", "about"),
    [
        ({"matrix": torch.ones(3), "factor": torch.ones(3)}, {"layer": "0", "tokens": "9"}),
        ({"matrix": torch.eye(3), "factor": torch.eye(2)}, {"layer": "0", "tokens": "9"}),
        ({"matrix": torch.eye(3), "factor": torch.eye(3)}, {"layer": "x", "tokens": "9"}),
        ({"matrix": torch.eye(3), "factor": torch.eye(3) / 0}, {"layer": "0", "tokens": "9"}),
    ],
)
def test_malformed_second_moments_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], about: dict[str, str]
) -> None:
    path = tmp_path / "c.safetensors"
    save_tensors(path, tensors, about)
    with pytest.raises(DataError, match=r"c\.safetensors contains no second moment"):
        second_moment.load(path)


def signed(record: dict[str, object]) -> dict[str, object]:
    """The record with the digest that belongs to it."""
    own = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return {**record, "digest": own}


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"templates": [], "model": "m", "seed": 0},
        {"templates": "{}", "model": "m", "seed": 0},
        {"templates": ["{}", 3], "model": "m", "seed": 0},
        {"templates": ["{}", "no slot"], "model": "m", "seed": 0},
        {"templates": ["{}"], "model": "m", "seed": "none"},
        {"templates": ["{}", "The. {}"], "model": "m", "seed": 0, "groups": 1},
        {"templates": ["{}", "The. {}"], "model": "m", "seed": 0, "groups": [2]},
    ],
)
def test_malformed_templates_are_named(tmp_path: Path, record: object) -> None:
    path = tmp_path / "prefixes.json"
    path.write_text(json.dumps(signed(record) if isinstance(record, dict) else record))
    with pytest.raises(DataError, match=r"prefixes\.json contains no context templates"):
        prefixes.load(path)


@pytest.mark.parametrize(
    ("name", "cases"), [("1/w/strange", "[1]"), ("1/w", "[1]"), ("1/w/change", "{"), ("x", "3")]
)
def test_malformed_deltas_are_named(tmp_path: Path, name: str, cases: str) -> None:
    path = tmp_path / "d.safetensors"
    save_tensors(path, {name: torch.ones(2)}, {"cases": cases})
    with pytest.raises(DataError, match=r"d\.safetensors contains no deltas"):
        load_deltas(path)


def test_a_checkpoint_of_another_shape_is_left_unread(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_tensors(path, {"x": torch.ones(1)}, {"identity": "this", "done": "7"})
    with pytest.warns(UserWarning, match=r"c\.safetensors cannot be resumed from"):
        assert Checkpoint(path, "this", 1.0).read() is None


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "edits" / "a.parquet"
    write_table(path, [edit_row(1)], EDITS, {"job": {"editor": {"label": "alpha"}}})
    return path


def again(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def with_metadata(**more: bytes) -> Callable[[pa.Table], pa.Table]:
    new = {f"editcore.{name}".encode(): value for name, value in more.items()}
    return lambda table: table.replace_schema_metadata({**table.schema.metadata, **new})


def test_bytes_in_metadata_do_not_end_the_process(table: Path) -> None:
    again(table, with_metadata(strange=b"\xff\xfe"))
    assert read_edits([table]).height == 1
    field = EDITS.field("subject").with_metadata({b"\xff": b"\xff"})
    place = EDITS.get_field_index("subject")
    again(table, lambda t: pa.Table.from_arrays(t.columns, schema=t.schema.set(place, field)))
    assert read_edits([table]).height == 1


def test_bytes_in_a_column_of_text_are_named(table: Path) -> None:
    again(table, lambda t: t.set_column(5, "subject", _bytes_as_text(b"\xff\xfe")))
    with pytest.raises(DataError, match=r"a\.parquet: not a whole Parquet file .*UTF8"):
        read_edits([table])


def _bytes_as_text(content: bytes) -> pa.Array:
    offsets = pa.array([0, len(content)], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(content)])


def test_a_key_that_is_missing_is_named(table: Path) -> None:
    again(table, lambda t: t.set_column(3, "case_id", pa.array([None], pa.int64())))
    with pytest.raises(DataError, match=r"a\.parquet: case_id is null in at least one row"):
        read_edits([table])


@pytest.mark.parametrize("content", [b"no JSON", b"[1]x", b"\xff", b"7"])
def test_provenance_that_is_not_json_is_named(table: Path, content: bytes) -> None:
    again(table, with_metadata(provenance=content))
    with pytest.raises(DataError, match=r"a\.parquet contains no provenance that can be read"):
        provenance.read(table)


RECORDS: tuple[dict[str, Any], ...] = (
    {"job": "text"},
    {"job": {"editor": 3, "model": {"name": 7}}, "versions": []},
    {"job": {"model": {}, "editor": {"label": None}, "dataset": []}},
)


@pytest.mark.parametrize("record", RECORDS)
def test_provenance_of_another_shape_stops_nothing(table: Path, record: dict[str, Any]) -> None:
    again(table, with_metadata(provenance=json.dumps(record).encode()))
    assert list(described(table.parents[1])) == []
    merged = provenance.origins([record])
    assert merged["models"] == merged["editors"] == merged["datasets"] == {}


@pytest.mark.parametrize("content", [b"", b"\x05" + 7 * b"\0" + b"[1,2]", b"\xff" * 40])
def test_a_file_that_is_not_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.safetensors contains no tensors"):
        provenance.read(path)
