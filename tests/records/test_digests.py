"""A table's digest is of its content, and nothing else is read as what was written."""

import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from editcore.atomic import write_tensors
from editcore.errors import DataError
from editcore.records.answer_schemas import ANSWERS
from editcore.records.columns import SCHEMA_KEY, TEXTS
from editcore.records.digests import of_files, of_table
from editcore.records.schemas import CORRELATION, EDITS
from editcore.records.tables import DIGEST_KEY, PROVENANCE_KEY, read_edits, read_table, write_table
from tests.rows import edit_row, failed_row

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table with text, numbers, truth values, infinity and nulls."""
    path = tmp_path / "a.parquet"
    rows = [edit_row(1), edit_row(2, math.inf, known=False), failed_row(3, "größer")]
    write_table(path, rows, EDITS, {"seed": 0})
    return path


def rewritten(path: Path, change: Change) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def column(name: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> Change:
    """A change of one column."""

    def changed(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        new = change(table.column(name)).cast(table.schema.field(name).type)
        return table.set_column(place, table.schema.field(name), new)

    return changed


def without(key: bytes) -> Change:
    def changed(table: pa.Table) -> pa.Table:
        known = {k: v for k, v in table.schema.metadata.items() if k != key}
        return table.replace_schema_metadata(known)

    return changed


def test_the_digest_is_that_of_its_definition() -> None:
    """By hand: names and types, null bits from the left, and bytes from the least significant."""
    columns = {
        "text": pa.array(["a", None, "größer"]),
        "flag": pa.array([True, None, False]),
        "number": pa.array([1.5, math.inf, None]),
        "count": pa.array([None, 7, -1], pa.int32()),
        "names": pa.array([["a", "größer"], None, []], TEXTS),
    }
    by_hand = hashlib.sha256(json.dumps({"k": b"v".hex()}).encode())
    content = {
        "count": ("int32", 0b100, [struct.pack("<3i", 0, 7, -1)]),
        "flag": ("bool", 0b010, [bytes([1, 0, 0])]),
        "names": (
            "list<element: string>",
            0b010,
            [struct.pack("<3q", 2, 0, 0), bytes(1), struct.pack("<2q", 1, 8), "agrößer".encode()],
        ),
        "number": ("double", 0b001, [struct.pack("<3d", 1.5, math.inf, 0)]),
        "text": ("string", 0b010, [struct.pack("<3q", 1, 0, 8), "agrößer".encode()]),
    }
    for name, (kind, nulls, parts) in content.items():
        by_hand.update(json.dumps([name, kind, 3]).encode() + bytes([nulls << 5]) + b"".join(parts))
    assert of_table(pa.table(columns), {b"k": b"v"}) == by_hand.hexdigest()


def test_how_rows_are_grouped_and_compressed_does_not_matter(path: Path) -> None:
    before = read_edits([path])
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=1, compression="gzip", use_dictionary=False)
    assert read_edits([path]).equals(before)
    pq.write_table(table.select(table.column_names[::-1]), path)
    assert read_edits([path]).select(before.columns).equals(before)


def test_slices_and_pieces_of_a_table_have_the_digest_of_their_rows(path: Path) -> None:
    table = pq.read_table(path)
    table = table.append_column("names", pa.array([["a", "b"], None, ["c"]], TEXTS))
    whole = of_table(table, {})
    pieces = [table.slice(i, 1) for i in range(3)]
    assert of_table(pa.concat_tables(pieces), {}) == whole
    doubled = pa.concat_tables([table, table])
    assert (
        of_table(doubled.slice(3), {}) == of_table(doubled.combine_chunks().slice(3), {}) == whole
    )
    assert of_table(table.slice(0, 0), {}) == of_table(table.schema.empty_table(), {}) != whole


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda table: table.slice(0, 0), 0),
        (lambda table: table.slice(1), 2),
        (lambda table: pa.concat_tables([table, table]), 6),
    ],
)
def test_a_table_with_fewer_or_more_rows_is_refused(path: Path, change: Change, rows: int) -> None:
    rewritten(path, change)
    with pytest.raises(
        DataError, match=rf"a\.parquet: has {rows} rows, but editcore wrote 3; delete it and run"
    ):
        read_edits([path])
    with pytest.raises(DataError, match="but editcore wrote 3"):
        read_table(path, EDITS)


@pytest.mark.parametrize(
    "change",
    [
        column("perplexity", lambda c: pc.if_else(pc.is_inf(c), 9.0, c)),
        column("perplexity", lambda c: pc.fill_null(c, 0.0)),
        column("perplexity", lambda c: pc.negate(c)),
        column("steps", lambda c: pc.add(c, 1)),
        column("known", lambda c: pc.invert(c)),
        column("subject", lambda c: pa.chunked_array([["Word1W", "ord2", "Word3"]])),
        column("relation", lambda c: pc.fill_null(c, "")),
        lambda table: table.take([1, 0, 2]),
        lambda table: table.append_column("fluency", pa.nulls(3, pa.float64())),
        lambda table: table.append_column("notes", pa.array([["a"], [], None])),
        lambda table: table.replace_schema_metadata(
            {**table.schema.metadata, PROVENANCE_KEY: b'{"seed": 1}'}
        ),
    ],
)
def test_a_table_that_was_changed_is_refused(path: Path, change: Change) -> None:
    rewritten(path, change)
    with pytest.raises(DataError, match=r"a\.parquet has changed since editcore wrote it; delete"):
        read_edits([path])


def test_a_table_without_digest_is_refused(path: Path) -> None:
    rewritten(path, without(DIGEST_KEY))
    with pytest.raises(DataError, match=r"a\.parquet has no digest, .*delete it and run again"):
        read_edits([path])


def test_an_empty_table_that_was_written_empty_is_read(tmp_path: Path) -> None:
    write_table(tmp_path / "none.parquet", [], EDITS, {})
    assert read_table(tmp_path / "none.parquet", EDITS).is_empty()


@pytest.mark.parametrize(
    ("name", "content"), [("a.safetensors", b"{}"), ("a.json", b"{}"), ("a.json", b"[1]")]
)
def test_a_file_without_digest_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} contains no .*delete it and run again"):
        of_files([str(tmp_path / name)])


def test_tensors_without_digest_are_named(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(1)}, {"layer": "0"})
    with pytest.raises(DataError, match=r"a\.safetensors contains no digest"):
        of_files([str(tmp_path / "a.safetensors")])


def test_a_table_whose_schema_has_an_empty_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    row = {"model": "m", "task": "t", "metric": "acc", "n": 3}
    write_table(path, [row], CORRELATION, {})
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {SCHEMA_KEY: b""}), path)
    with pytest.raises(DataError, match="a table with the schema correlation/1 is needed"):
        read_table(path, CORRELATION)


@pytest.mark.parametrize(
    "accepted", [[["a"], ["b", "c"]], [["a", "b", "d"], []], [["a", "b"], None], [None, ["c"]]]
)
def test_lists_that_were_changed_are_refused(
    tmp_path: Path, accepted: list[list[str] | None]
) -> None:
    path = tmp_path / "answers.parquet"
    row = {
        **dict.fromkeys(ANSWERS.names, 0),
        **dict.fromkeys(("model", "editor", "dataset", "measure", "context", "kind"), "a"),
        **dict.fromkeys(("prompt", "question", "answer_base", "answer"), "b"),
        "unchanged": True,
    }
    lists = ["a", "b"], ["c"]
    rows = [{**row, "number": i, "accepted": names} for i, names in enumerate(lists)]
    write_table(path, rows, ANSWERS, {})
    assert read_table(path, ANSWERS)["accepted"].to_list() == [*lists]
    rewritten(path, column("accepted", lambda _: pa.chunked_array([accepted], TEXTS)))
    with pytest.raises(DataError, match=r"has changed since|accepted is null"):
        read_table(path, ANSWERS)
