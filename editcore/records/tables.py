"""Tables on disk: Parquet, written atomically with provenance and read strictly."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from editcore.atomic import replacing
from editcore.config.telemetry import NAMES
from editcore.errors import DataError, reading
from editcore.records import planned
from editcore.records.columns import SCHEMA_KEY, keys, schema_name
from editcore.records.digests import REMEDY, check_digest, of_table
from editcore.records.metric_columns import FREE_COLUMNS, PROBE_MEANS, PROBES
from editcore.records.model_schemas import ROUNDING, SURVIVAL, SURVIVAL_MEANS
from editcore.records.schemas import (
    CASE_KEYS,
    CASES,
    EDITS,
    SEQUENCES,
    SEQUENCES_JUDGED,
    VERDICTS,
)

if TYPE_CHECKING:
    from editcore.planning.jobs import Job

Row = Mapping[str, Any]
Provenance = Mapping[str, Any]
Metadata = Mapping[bytes, bytes]

PROVENANCE_KEY = b"editcore.provenance"
ROWS_KEY, DIGEST_KEY = b"editcore.rows", b"editcore.digest"
NO_JOBS: Mapping[Path, Any] = MappingProxyType({})
FIRST_EDITS = "edits/1"
OLD_EDITS = (FIRST_EDITS, *(f"edits/{version}" for version in range(2, 8)))
# Tables of cases from which verdicts can be judged again.
OLD_CASES = tuple(f"cases/{version}" for version in range(2, 8))
# Older versions that lack only columns which may be null.
OLDER: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        schema_name(CASES): ("cases/5", "cases/6", "cases/7"),
        schema_name(VERDICTS): ("verdicts/4",),
        schema_name(SEQUENCES): ("sequences/3", "sequences/4"),
        schema_name(SEQUENCES_JUDGED): ("sequences-judged/3", "sequences-judged/4"),
        schema_name(ROUNDING): ("rounding/1",),
        schema_name(SURVIVAL): ("survival/2",),
        schema_name(SURVIVAL_MEANS): ("survival-means/2",),
    }
)
# What all rows of older versions have in a column that is newer.
ALWAYS_OF_OLD: Mapping[str, str] = MappingProxyType({"arrangement": "drawn"})
# Columns that only some studies have, by name.
OPTIONAL: Mapping[str, pa.Field] = MappingProxyType(
    {column.name: column.field(nullable=True) for column in (*PROBES, *PROBE_MEANS)}
)
VERDICTS_OF_OLD = {*CASES.names} - {*EDITS.names}
FORMER = {*VERDICTS_OF_OLD, "denominator_usual"}
NEW_SINCE_OLD = (
    *("key_match", "output_change", "kl_mean", "kl_upper", "top1_kept", "known", "stored_as"),
    *("sample_changed", "sample_ratio", "locality_kl"),
    *("took", "seconds_editing", "change_bytes", "peak_memory"),
    *("arrangement", "efficacy_by_fact", *NAMES),
    *("efficacy_prefixed_min", "efficacy_prefixed_max", "efficacy_prefixed_n"),
    *FREE_COLUMNS,
    "diagnostics",
    "exposure",
    "chat_template",
    "rounded_as",
    *("facts", "efficacy_all_facts", "efficacy_all_facts_mean", "efficacy_all_facts_n"),
)


def write_table(
    path: Path,
    content: Iterable[Row] | pl.DataFrame | pa.Table,
    schema: pa.Schema,
    provenance: Provenance,
) -> None:
    """Write a table ordered by its keys, atomically, with `provenance` in its metadata.

    The metadata also contain the number of rows and a digest, both checked on reading. Columns that
    are not in `schema` (metrics that are not in every study) follow by name, third parties' as
    float64. Raises `DataError` if a key is null, a row appears twice, a number is NaN, a value has
    the wrong type, or the keys contradict a folder such as `model=tiny`.
    """
    table = _as_table(path, content, schema)
    named_by = keys(schema)
    table = table.sort_by([(key, "ascending") for key in named_by])
    _check_values(path, table, named_by)
    _check_folders(path, table)
    known = json.dumps(provenance, sort_keys=True).encode()
    metadata = {**(schema.metadata or {}), PROVENANCE_KEY: known}
    metadata |= {ROWS_KEY: b"%d" % len(table), DIGEST_KEY: _digest(table, metadata).encode()}
    with replacing(path) as partial:
        pq.write_table(table.replace_schema_metadata(metadata), partial, compression="zstd")


def read_edits(paths: Iterable[Path], jobs: Mapping[Path, "Job"] = NO_JOBS) -> pl.DataFrame:
    """The rows of the listed edit files, ordered by model, editor, dataset and case.

    A file must have one row for each case of its job in `jobs`; if it has none there, for each case
    of the job in its own provenance. A table of an older version is read without its verdicts, and
    with null for columns that are newer. Raises `DataError` naming a file that is missing,
    truncated, of another kind, in the wrong folder or not as planned, or a case that is in two
    files.
    """
    tables = {path: _read_checked(path, EDITS, OLD_EDITS) for path in paths}
    if not tables:
        raise DataError("no edit files were given; run `editcore edit` first")
    for path, table in tables.items():
        if cases := planned.case_ids(planned.job_of(path, jobs, read_provenance(path))):
            found = (f"case {case}" for case in table.column("case_id").to_pylist())
            planned.require(path, [f"case {case}" for case in cases], found)
    frames = [_to_polars(table) for table in tables.values()]
    edits = pl.concat(frames, how="diagonal").sort(CASE_KEYS)
    twice = edits.filter(edits.select(CASE_KEYS).is_duplicated())
    if not twice.is_empty():
        model, editor, dataset, case_id = twice.select(CASE_KEYS).row(0)
        raise DataError(
            f"case {case_id} of {model}, {editor}, {dataset} appears in two edit files; "
            "delete the older file, or list each shard once"
        )
    return edits


def read_table(path: Path, schema: pa.Schema) -> pl.DataFrame:
    """The table in one file; raises `DataError` unless it fits `schema`.

    One of a version in `OLDER` has null for columns that are newer.
    """
    return _to_polars(_read_checked(path, schema, OLDER.get(schema_name(schema), ())))


def read_older(path: Path, schema: pa.Schema, older: Sequence[str]) -> pl.DataFrame:
    """The table in one file of this version or of an `older` one, with null for columns it lacks.

    Raises `DataError` for any other table, and for one that was changed.
    """
    table, metadata = _read(path)
    found = metadata.get(SCHEMA_KEY, b"none").decode(errors="replace")
    if found not in (schema_name(schema), *older):
        raise _other_table(path, schema, found)
    _check_content(path, table, metadata)
    return _to_polars(_fit(table, _extended(schema, table.column_names)))


def read_provenance(path: Path) -> dict[str, Any]:
    """How a table was made, from its metadata; raises `DataError` if it has none."""
    found = _metadata(path).get(PROVENANCE_KEY)
    if found is None:
        raise DataError(f"{path}: has no provenance; give a file that editcore wrote")
    with reading(path, "provenance that can be read"):
        return dict(json.loads(found))


def read_schema_name(path: Path) -> str:
    """The name and version of the table in a file; empty if it has none."""
    return _metadata(path).get(SCHEMA_KEY, b"").decode(errors="replace")


def extra_columns(edits: pl.DataFrame) -> list[str]:
    """The columns in the edit rows of metrics that not every study has."""
    return [column for column in edits.columns if column not in CASES.names]


def _as_table(
    path: Path, content: Iterable[Row] | pl.DataFrame | pa.Table, schema: pa.Schema
) -> pa.Table:
    if isinstance(content, pl.DataFrame):
        content = content.to_arrow()
    try:
        if isinstance(content, pa.Table):
            return _fit(content, _extended(schema, content.column_names))
        rows = [dict(row) for row in content]
        names = {name for row in rows for name in row}
        return pa.Table.from_pylist(rows, schema=_extended(schema, names))
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise DataError(
            f"{path}: a value does not fit its column ({error}); report this to editcore's authors"
        ) from error


def _extended(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    """The schema, followed by the other `names`, sorted; as float64 if they are not declared."""
    for name in sorted(set(names) - set(schema.names)):
        schema = schema.append(OPTIONAL.get(name) or pa.field(name, pa.float64()))
    return schema


def _fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` in its order and types; null if the table lacks them."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _check_values(path: Path, table: pa.Table, keys: Sequence[str]) -> None:
    frame = _to_polars(table)
    for field in table.schema:
        if not field.nullable and frame[field.name].null_count():
            raise DataError(f"{path}: {field.name} is null in at least one row; it is required")
    twice = frame.filter(frame.select(keys).is_duplicated())
    if not twice.is_empty():
        raise DataError(f"{path}: {_named(twice, keys)} appears twice; rows must be unique")
    for column in frame.columns:
        if frame[column].dtype.is_float():
            bad = frame.filter(pl.col(column).is_nan())
            if not bad.is_empty():
                raise DataError(
                    f"{path}: {column} of {_named(bad, keys)} is NaN; "
                    "write null for what was not measured and inf for what overflowed"
                )


def _named(frame: pl.DataFrame, keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {frame[key][0]}" for key in keys)


def _check_folders(path: Path, table: pa.Table) -> None:
    """Check that a folder `model=tiny` and the column `model` agree: readers use either."""
    for part in path.parent.parts:
        column, equals, value = part.partition("=")
        if not equals or column not in table.column_names:
            continue
        others = {str(other) for other in table.column(column).unique().to_pylist()} - {value}
        if others:
            raise DataError(
                f"{path}: is in the folder {part}, but its rows have {column} {min(others)!r}; "
                "move the file or delete it and run again"
            )


def _metadata(path: Path) -> Metadata:
    """The metadata, without reading the rows; `DataError` as in `_read`."""
    with _opening(path):
        return pq.read_schema(path).metadata or {}


def _read(path: Path) -> tuple[pa.Table, Metadata]:
    """All rows, validated against their types, and apart from them the file's metadata.

    Metadata can be any bytes, and polars aborts the process if they are not UTF-8.
    """
    with _opening(path):
        table = pq.ParquetFile(path).read()
        table.validate(full=True)
        columns = dict(zip(table.column_names, table.columns, strict=True))
        return pa.table(columns), table.schema.metadata or {}


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run the step that makes it") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({_first_line(error)}); "
            "delete it and run again, and keep other files out of this folder"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _renewed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table of an older version without its former columns, and with null for new ones."""
    former = FORMER - {*schema.names}
    table = table.drop_columns([name for name in former if name in table.column_names])
    lacking = {*NEW_SINCE_OLD} - {*table.column_names}
    for name in filter(lacking.__contains__, schema.names):
        value = pa.scalar(ALWAYS_OF_OLD.get(name), schema.field(name).type)
        nothing = pa.repeat(value, table.num_rows)
        place = min(schema.get_field_index(name), table.num_columns)
        table = table.add_column(place, schema.field(name), nothing)
    return table


def _read_checked(path: Path, schema: pa.Schema, older: Sequence[str] = ()) -> pa.Table:
    """A table checked against `schema` and its digest; one of an `older` version is converted."""
    table, metadata = _read(path)
    wanted = schema_name(schema)
    found = metadata.get(SCHEMA_KEY, b"none").decode(errors="replace")
    if found not in (wanted, *older):
        raise _other_table(path, schema, found)
    written = table
    if found in older:
        table = _renewed(table, schema)
    _check_columns(path, table, schema)
    if found != FIRST_EDITS:  # which had no digest yet
        _check_content(path, written, metadata)
    _check_folders(path, table)
    return table


def _other_table(path: Path, schema: pa.Schema, found: str) -> DataError:
    return DataError(
        f"{path}: a table with the schema {schema_name(schema)} is needed, but this one has "
        f"{found}; delete it and run again with this version of editcore"
    )


def _check_columns(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    for field in schema:
        if (
            field.name not in table.column_names
            or table.schema.field(field.name).type != field.type
        ):
            raise DataError(
                f"{path}: the column {field.name} ({field.type}) is missing or of another type; "
                "delete it and run again"
            )
        if not field.nullable and table.column(field.name).null_count:
            raise DataError(
                f"{path}: {field.name} is null in at least one row; delete the file and run again"
            )


def _check_content(path: Path, table: pa.Table, metadata: Metadata) -> None:
    """Raise `DataError` if rows, values or provenance are not as written."""
    written = metadata.get(ROWS_KEY, b"").decode(errors="replace")
    if written and written != str(len(table)):
        raise DataError(
            f"{path}: has {len(table)} rows, but editcore wrote {written}; delete it and run again"
        )
    digest = metadata.get(DIGEST_KEY)
    own = _digest(table, metadata)
    check_digest(path, digest and digest.decode(errors="replace"), own, REMEDY)


def _digest(table: pa.Table, metadata: Metadata) -> str:
    """Of all columns, the schema's name and the provenance."""
    return of_table(table, {key: metadata.get(key, b"") for key in (SCHEMA_KEY, PROVENANCE_KEY)})


def _to_polars(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
