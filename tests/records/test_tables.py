"""A table is read as it was written, and other files are refused by name."""

import math
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from editcore.config.collapse import CollapseSection
from editcore.errors import DataError
from editcore.records.columns import SCHEMA_KEY, schema
from editcore.records.mechanism_schemas import DEPTH, DISTANCES
from editcore.records.metric_columns import FREE_COLUMNS
from editcore.records.model_schemas import ROUNDING, SURVIVAL, SURVIVAL_MEANS, WARNING
from editcore.records.schemas import (
    CASE_KEYS,
    CASES,
    CORRELATION,
    DOWNSTREAM,
    EDITS,
    SEQUENCES,
    SEQUENCES_JUDGED,
    VERDICTS,
)
from editcore.records.tables import (
    NEW_SINCE_OLD,
    PROVENANCE_KEY,
    extra_columns,
    read_edits,
    read_provenance,
    read_table,
    write_table,
)
from editcore.summary.edits import verdicts
from tests.rows import SOUND, edit_row, failed_row, judged_rows

SHARD = Path("edits/model=small/editor=alpha/dataset=hard/shard-000.parquet")


def test_rows_return_sorted_with_nulls_and_infinities(tmp_path: Path) -> None:
    path = tmp_path / SHARD
    rows = [edit_row(3, math.inf), failed_row(2), edit_row(1)]
    write_table(path, rows, EDITS, {"editcore": "1"})
    edits = read_edits([path])
    assert edits.columns == EDITS.names
    assert edits["case_id"].to_list() == [1, 2, 3]
    assert edits["status"].to_list() == ["ok", "target too long", "ok"]
    assert edits["perplexity"].to_list() == [4.1, None, math.inf]


def test_written_columns_have_the_documented_types(tmp_path: Path) -> None:
    path = tmp_path / SHARD
    write_table(path, [failed_row(1)], EDITS, {})
    written = pq.read_schema(path)
    assert [(f.name, f.type) for f in written] == [(f.name, f.type) for f in EDITS]


def test_polars_finds_the_partitions_of_a_folder(tmp_path: Path) -> None:
    for model in ("small", "7"):
        path = tmp_path / str(SHARD).replace("small", model)
        write_table(path, [edit_row(1, model=model)], EDITS, {})
    partitions = {"model": pl.String, "editor": pl.String, "dataset": pl.String}
    found = pl.scan_parquet(tmp_path / "edits", hive_schema=partitions).collect()
    assert sorted(found["model"]) == ["7", "small"]


def test_same_rows_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    rows = [edit_row(i) for i in range(5)]
    write_table(tmp_path / "a.parquet", rows, EDITS, {"b": 1, "a": 2})
    write_table(tmp_path / "b.parquet", rows[::-1], EDITS, {"a": 2, "b": 1})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("as_table", [pl.DataFrame, pa.Table.from_pylist])
def test_frames_are_fitted_to_the_schema(tmp_path: Path, as_table: type) -> None:
    path = tmp_path / "a.parquet"
    few = [{"model": "m", "editor": "e", "dataset": "d", "case_id": 1, "status": "ok"}]
    write_table(path, as_table(few), EDITS, {})
    edits = read_edits([path])
    assert edits.columns == EDITS.names
    assert edits["perplexity"].to_list() == [None]


def test_foreign_metrics_follow_the_schema_and_may_differ_between_files(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", [edit_row(1, zeta=1.0, fluency=2)], EDITS, {})
    write_table(tmp_path / "b.parquet", [edit_row(2, fluency=None)], EDITS, {})
    edits = read_edits([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert extra_columns(edits) == ["fluency", "zeta"]
    assert edits["fluency"].to_list() == [2.0, None]


def test_provenance_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    provenance = {"versions": {"editcore": "0.1"}, "seed": 3}
    write_table(path, [edit_row(1)], EDITS, provenance)
    assert read_provenance(path) == provenance


def test_file_of_another_origin_has_no_provenance(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(DataError, match=r"a\.parquet: has no provenance"):
        read_provenance(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([edit_row(1), edit_row(1)], "case_id 1 appears twice"),
        ([edit_row(1, locality=math.nan)], "locality of .*case_id 1 is NaN"),
        ([edit_row(1, status=None)], "status is null in at least one row"),
        (
            [{k: v for k, v in edit_row(1).items() if k != "model"}],
            "model is null in at least one row",
        ),
        ([edit_row(1, perplexity_base="low")], "does not fit its column"),
        ([edit_row(1, fluency="good")], "does not fit its column"),
        ([edit_row(1, editor="beta")], r"folder editor=alpha, but its rows have editor 'beta'"),
    ],
)
def test_rows_that_break_the_schema_are_refused(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    path = tmp_path / SHARD
    with pytest.raises(DataError, match=message):
        write_table(path, rows, EDITS, {})
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(path, [edit_row(1)], EDITS, {})
    with pytest.raises(DataError):
        write_table(path, [edit_row(1, locality=math.nan)], EDITS, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
    assert read_edits([path])["case_id"].to_list() == [1]


def test_only_the_listed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / SHARD
    write_table(path, [edit_row(1)], EDITS, {})
    (path.parent / "notes.log").write_text("stray")
    (path.parent / "shard-001.parquet").write_text("stray")
    assert len(read_edits([path])) == 1


def test_truncated_foreign_missing_and_outdated_files_are_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    write_table(good, [edit_row(1)], EDITS, {})
    bad.write_bytes(good.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"bad\.parquet: not a whole Parquet file"):
        read_edits([good, bad])
    bad.write_text("not a table at all")
    with pytest.raises(DataError, match=r"bad\.parquet: not a whole Parquet file"):
        read_edits([good, bad])
    pl.DataFrame({"a": [1]}).write_parquet(bad)
    with pytest.raises(
        DataError, match=r"bad\.parquet: .*edits/8 is needed, but this one has none"
    ):
        read_edits([good, bad])
    with pytest.raises(DataError, match=r"absent\.parquet: no such file"):
        read_edits([good, tmp_path / "absent.parquet"])


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(path, [edit_row(1)], EDITS, {})
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["denominator"]), path)
    with pytest.raises(DataError, match=r"a\.parquet: the column denominator \(double\)"):
        read_edits([path])


def test_file_moved_into_a_wrong_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / SHARD
    write_table(path, [edit_row(1)], EDITS, {})
    moved = tmp_path / "model=large" / "shard-000.parquet"
    moved.parent.mkdir()
    path.rename(moved)
    with pytest.raises(DataError, match="folder model=large, but its rows have model 'small'"):
        read_edits([moved])


def test_case_in_two_files_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / f"{name}.parquet", [edit_row(5)], EDITS, {})
    with pytest.raises(DataError, match="case 5 of small, alpha, hard appears in two"):
        read_edits([tmp_path / "a.parquet", tmp_path / "b.parquet"])


def test_no_files_is_an_error() -> None:
    with pytest.raises(DataError, match="no edit files"):
        read_edits([])


def test_read_table_checks_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(path, [edit_row(1)], EDITS, {})
    assert read_table(path, EDITS).select(CASE_KEYS).row(0) == ("small", "alpha", "hard", 1)


def test_a_table_of_the_first_version_is_read_without_its_verdicts(tmp_path: Path) -> None:
    row = {name: value for name, value in edit_row(1).items() if name not in NEW_SINCE_OLD}
    row |= {"collapsed": True, "collapsed_perplexity": False, "collapsed_ratio": True}
    table = pa.Table.from_pylist([row], schema=pa.schema([CASES.field(name) for name in row]))
    names = table.schema.with_metadata({SCHEMA_KEY: "edits/1", PROVENANCE_KEY: "{}"})
    pq.write_table(table.cast(names), tmp_path / "old.parquet")
    write_table(tmp_path / "new.parquet", [edit_row(2)], EDITS, {})
    edits = read_edits([tmp_path / "old.parquet", tmp_path / "new.parquet"])
    assert edits.columns == EDITS.names
    assert edits["perplexity"].to_list() == [4.1, 4.1]
    assert edits["known"].to_list() == [None, True]
    assert edits["key_match"].to_list() == [None, 0.48]
    assert edits["top1_kept"].to_list() == [None, SOUND]
    with pytest.raises(DataError, match=r"edits/8 is needed, but this one has edits/1"):
        read_table(tmp_path / "old.parquet", EDITS)


STEP = {
    "model": "small",
    "editor": "alpha",
    "dataset": "hard",
    "batch": 1,
    "order": 0,
    "arrangement": "drawn",
    "step": 0,
    "status": "ok",
    "perplexity": 4.0,
    "grade": "sound",
}


@pytest.mark.parametrize(
    ("declared", "name", "row"),
    [
        (EDITS, "edits/5", edit_row(1)),
        (CASES, "cases/5", judged_rows([edit_row(1)]).row(0, named=True)),
        (SEQUENCES, "sequences/3", {k: v for k, v in STEP.items() if k != "grade"}),
        (SEQUENCES_JUDGED, "sequences-judged/3", STEP),
    ],
)
def test_tables_of_the_version_without_diagnostics_are_read_with_null(
    declared: pa.Schema, name: str, row: dict[str, Any], tmp_path: Path
) -> None:
    path, place = tmp_path / "old.parquet", declared.get_field_index("diagnostics")
    metadata = {**declared.metadata, SCHEMA_KEY: name.encode()}
    row = {column: value for column, value in row.items() if column != "diagnostics"}
    write_table(path, [row], declared.remove(place).with_metadata(metadata), {})
    (found,) = (read_edits([path]) if declared is EDITS else read_table(path, declared)).to_dicts()
    assert [*found] == declared.names
    assert found == {**dict.fromkeys(declared.names), **row}
    table = pq.read_table(path)
    column = table.column_names.index("perplexity")
    pq.write_table(table.set_column(column, "perplexity", pa.array([9.0])), path)
    with pytest.raises(DataError, match="has changed"):
        read_edits([path]) if declared is EDITS else read_table(path, declared)


TREATED = {"model": "tiny", "editor": "rome", "dataset": "hard", "treatment": "4-bit"}


@pytest.mark.parametrize(
    ("declared", "name", "row"),
    [
        (ROUNDING, "rounding/1", {"model": "tiny", "bits": 4, "status": "ok"}),
        (SURVIVAL, "survival/2", TREATED | {"case_id": 1, "status": "ok"}),
        (
            SURVIVAL_MEANS,
            "survival-means/2",
            TREATED | {"n": 2, "n_ok": 2, "n_damaged": 0, "n_collapsed": 0},
        ),
    ],
)
def test_tables_of_the_version_without_formats_of_rounding_are_read_with_null(
    declared: pa.Schema, name: str, row: dict[str, Any], tmp_path: Path
) -> None:
    place = declared.get_field_index("rounded_as")
    old = declared.remove(place).with_metadata({**declared.metadata, SCHEMA_KEY: name.encode()})
    write_table(tmp_path / "old.parquet", [row], old, {})
    (found,) = read_table(tmp_path / "old.parquet", declared).to_dicts()
    assert [*found] == declared.names
    assert found == {**dict.fromkeys(declared.names), **row}


def test_edits_with_the_usual_denominator_are_read_without_it_and_with_no_exposure(
    tmp_path: Path,
) -> None:
    place = EDITS.get_field_index("exposure")
    usual = pa.field("denominator_usual", pa.float64())
    old = EDITS.set(place, usual).with_metadata({**EDITS.metadata, SCHEMA_KEY: b"edits/6"})
    row = {name: value for name, value in edit_row(1).items() if name != "exposure"}
    write_table(tmp_path / "old.parquet", [row | {"denominator_usual": 4.0}], old, {})
    (found,) = read_edits([tmp_path / "old.parquet"]).to_dicts()
    assert [*found] == EDITS.names
    assert found == {**edit_row(1), "exposure": None}


@pytest.mark.parametrize(
    ("declared", "name", "rows"),
    [
        (EDITS, "edits/7", pl.DataFrame([edit_row(1)])),
        (CASES, "cases/7", judged_rows([edit_row(1)])),
        (VERDICTS, "verdicts/4", verdicts(judged_rows([edit_row(1)]), CollapseSection())),
    ],
)
def test_tables_of_the_version_without_cases_of_several_facts_are_read_with_null(
    declared: pa.Schema, name: str, rows: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "old.parquet"
    new = [column for column in declared.names if "facts" in column]
    old = pa.schema([field for field in declared if field.name not in new])
    metadata = {**declared.metadata, SCHEMA_KEY: name.encode()}
    write_table(path, rows.drop(new), old.with_metadata(metadata), {})
    found = read_edits([path]) if declared is EDITS else read_table(path, declared)
    assert found.columns == declared.names
    assert found.row(0, named=True) == {**rows.row(0, named=True), **dict.fromkeys(new)}


def test_a_table_of_the_second_version_is_checked_and_read_with_null_for_newer_columns(
    tmp_path: Path,
) -> None:
    newer = {*FREE_COLUMNS, *(f"efficacy_prefixed_{name}" for name in ("min", "max", "n"))}
    fields = [field for field in EDITS if field.name not in newer]
    old = schema("edits/2", CASE_KEYS, ()).metadata
    path = tmp_path / "old.parquet"
    row = {name: value for name, value in edit_row(1).items() if name not in newer}
    write_table(path, [row], pa.schema(fields, metadata=old), {})
    edits = read_edits([path])
    assert edits.columns == EDITS.names
    assert edits["efficacy_prefixed"].to_list() == [0.5]
    assert set(edits.select(*newer).null_count().row(0)) == {1}
    table = pq.read_table(path)
    place = table.column_names.index("perplexity")
    pq.write_table(table.set_column(place, "perplexity", pa.array([9.0])), path)
    with pytest.raises(DataError, match="has changed"):
        read_edits([path])


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (VERDICTS, "n_ok"),
        (WARNING, "n_hits"),
        (CORRELATION, "n"),
        (DOWNSTREAM, "random"),
        (DISTANCES, "n_first"),
        (DEPTH, "n"),
    ],
)
def test_a_count_that_the_report_shows_is_never_null(
    table: pa.Schema, column: str, tmp_path: Path
) -> None:
    values = {"string": "x", "int64": 1, "double": 0.5, "bool": True}
    row = {field.name: values[str(field.type)] for field in table} | {column: None}
    with pytest.raises(DataError, match=f"{column} is null"):
        write_table(tmp_path / "table.parquet", [row], table, {})
