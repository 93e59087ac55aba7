"""Strategies that change valid content: JSON by structure, files by bytes, tables by columns."""

import copy
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from editcore.records.columns import SCHEMA_KEY
from editcore.records.digests import of_table
from editcore.records.tables import DIGEST_KEY, PROVENANCE_KEY, ROWS_KEY

Path = tuple[int | str, ...]

# What people and programs write by mistake.
NAMES = st.sampled_from(
    [
        "", ".", "..", "x", "data", "model", "data/facts.json", "data/texts.json", "nowhere/x",
        "~nosuchuser/x", "x" * 5000, f"./{'n' * 300}", "{x}", "a b", "tiny-gpt2", "rome", "cpu",
        "cuda", "cuda:7", "mps", "float16", "bfloat16", "tf32", "model/config.json", "é", "\ud800",
    ]
)  # fmt: skip
LARGE = st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30])
SMALL = st.integers(-3, 12)
FEW = st.sampled_from([1, 1, 1, 2, 3])
REALS = st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.5, -0.0, 1e-320, 1e308])
PLAIN = st.none() | st.booleans() | SMALL | REALS | NAMES
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
ANYTHING = NESTED | st.text(max_size=12)
# These keys set the amount of work: a large number there is a valid order, not a mistake.
WORK = {
    "steps", "lengths", "tokens", "count", "resamples", "continuation_tokens", "batch", "patience",
    "texts", "validate_every", "cases", "prefix_lengths", "checkpoint", "every", "limit", "edits",
    "checks", "task_items", "task_checks", "top", "shard_size", "num_hidden_layers", "n_layer",
}  # fmt: skip


def places(document: Any, at: Path = ()) -> list[Path]:
    """Every place in a JSON document, beginning with the whole document."""
    found = [at]
    parts = document.items() if isinstance(document, dict) else ()
    parts = enumerate(document) if isinstance(document, list) else parts
    for step, part in parts:
        found += places(part, (*at, step))
    return found


@st.composite
def changed(draw: st.DrawFn, document: Any, large: bool = False) -> Any:
    """A JSON document with one to three changes at different places.

    With `large`, large numbers are put anywhere, otherwise not at keys that set the amount of work.
    """
    document = copy.deepcopy(document)
    for _ in range(draw(FEW)):
        at = draw(st.sampled_from(places(document)))
        works = any(step in WORK for step in at)
        new = ANYTHING if works and not large else ANYTHING | LARGE
        document = _change(draw, document, at, new)
    return document


def _change(draw: st.DrawFn, document: Any, at: Path, new: st.SearchStrategy[Any]) -> Any:
    if not at:
        return draw(new)
    *before, last = at
    parent = document
    for step in before:
        parent = parent[step]
    how = draw(st.sampled_from(["replace", "replace", "remove", "add", "move"]))
    if how == "remove":
        del parent[last]
    elif how == "move":
        parent[last] = copy.deepcopy(_part(document, draw(st.sampled_from(places(document)))))
    elif how == "add" and isinstance(parent, dict):
        parent[draw(NAMES | st.text(max_size=5))] = draw(new)
    elif how == "add":
        parent.insert(last, draw(new))
    else:
        parent[last] = draw(new)
    return document


def _part(document: Any, at: Path) -> Any:
    for step in at:
        document = document[step]
    return document


def as_json(document: Any) -> bytes:
    """JSON as bytes; text that cannot be UTF-8 is escaped."""
    return json.dumps(document).encode()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file that is truncated, or has other or further bytes somewhere."""
    for _ in range(draw(FEW)):
        # In most formats, the header is at small positions.
        place = draw(st.integers(0, 64) | st.integers(0, max(0, len(content) - 1)))
        place = min(place, len(content))
        some = draw(st.binary(max_size=12))
        how = draw(st.sampled_from(["cut", "over", "insert", "remove"]))
        rest = {"cut": b"", "insert": content[place:]}.get(how, content[place + len(some) :])
        content = content[:place] + (b"" if how == "remove" else some) + rest
    return content


def json_file(content: bytes, large: bool = False) -> st.SearchStrategy[bytes]:
    """A JSON file, changed by structure or by bytes."""
    return changed(json.loads(content), large).map(as_json) | damaged(content)


def safetensors_file(content: bytes) -> st.SearchStrategy[bytes]:
    """A safetensors file with another header, other numbers, or other bytes."""
    length = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]

    def packed(new: Any) -> bytes:
        text = as_json(new)
        return len(text).to_bytes(8, "little") + text + numbers

    inner = header.get("__metadata__", {})
    about = changed(inner).map(lambda new: packed({**header, "__metadata__": new}))
    values = damaged(numbers).map(lambda new: content[: 8 + length] + new)
    texts = st.sampled_from(sorted(inner) or ["x"]).flatmap(
        lambda key: _text(inner.get(key, "")).map(
            lambda new: packed({**header, "__metadata__": {**inner, key: new}})
        )
    )
    return changed(header).map(packed) | about | texts | values | damaged(content)


def _text(text: str) -> st.SearchStrategy[str]:
    """A metadata string; JSON in it is changed by structure."""
    try:
        return changed(json.loads(text)).map(json.dumps) | st.text(max_size=9)
    except ValueError:
        return st.text(max_size=9) | NAMES


KINDS = (pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.float32(), pa.list_(pa.int64()))


@st.composite
def table(draw: st.DrawFn, content: bytes) -> bytes:
    """A Parquet file with other columns, rows or metadata; half with the digest of what it has."""
    rows = pq.read_table(io.BytesIO(content))
    change: Callable[[st.DrawFn, pa.Table], pa.Table] = draw(
        st.sampled_from([_metadata, _metadata, _column, _column, _rows, _cell, _cell])
    )
    changed_rows = change(draw, rows)
    out = io.BytesIO()
    pq.write_table(_signed(changed_rows) if draw(st.booleans()) else changed_rows, out)
    return out.getvalue()


def _signed(rows: pa.Table) -> pa.Table:
    """With the number of rows and the digest that editcore would write."""
    about = dict(rows.schema.metadata or {})
    if len(set(rows.column_names)) < rows.num_columns:
        return rows
    own = of_table(rows, {key: about.get(key, b"") for key in (SCHEMA_KEY, PROVENANCE_KEY)})
    signed = {ROWS_KEY: str(len(rows)).encode(), DIGEST_KEY: own.encode()}
    return rows.replace_schema_metadata(about | signed)


def _metadata(draw: st.DrawFn, rows: pa.Table) -> pa.Table:
    about = dict(rows.schema.metadata or {})
    key = draw(st.sampled_from([*about, b"x"]))
    texts = _text(about[key].decode()).map(lambda t: t.encode(errors="replace")) if key in about \
        else st.nothing()  # fmt: skip
    about[key] = draw(st.binary(max_size=9) | texts)
    return rows.replace_schema_metadata(about)


def _column(draw: st.DrawFn, rows: pa.Table) -> pa.Table:
    place = draw(st.integers(0, rows.num_columns - 1))
    how = draw(st.sampled_from(["drop", "rename", "retype", "nulls", "twice"]))
    name, size = rows.column_names[place], len(rows)
    if how == "drop":
        return rows.drop_columns([name])
    if how == "rename":
        names = [*rows.column_names]
        names[place] = draw(st.text(max_size=4) | st.sampled_from(rows.column_names))
        return rows.rename_columns(names)
    if how == "twice":
        return rows.append_column(name, rows.column(place))
    kind = rows.schema.types[place] if how == "nulls" else draw(st.sampled_from(KINDS))
    return rows.set_column(place, name, pa.nulls(size, kind))


def _rows(draw: st.DrawFn, rows: pa.Table) -> pa.Table:
    taken = draw(st.lists(st.integers(0, len(rows) - 1), max_size=6)) if len(rows) else []
    return rows.take(pa.array(taken, pa.int64()))


def _cell(draw: st.DrawFn, rows: pa.Table) -> pa.Table:
    """One value, or all values of a column, replaced by another of the type."""
    place = draw(st.integers(0, rows.num_columns - 1))
    kind = rows.schema.types[place]
    values: Sequence[Any] = rows.column(place).to_pylist()
    new = draw(st.none() | _of(kind))
    every = draw(st.booleans())
    at = draw(st.integers(0, max(0, len(values) - 1)))
    changed_ = [new if every or n == at else value for n, value in enumerate(values)]
    return rows.set_column(place, rows.schema.field(place).name, pa.array(changed_, kind))


def _of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_floating(kind):
        return REALS
    if pa.types.is_integer(kind):
        return st.sampled_from([-1, 0, 1, 2**31 - 1]) | st.integers(-5, 200)
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_string(kind):
        return st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
    if pa.types.is_list(kind):
        return st.lists(_of(kind.value_type), max_size=3)
    return st.none()
