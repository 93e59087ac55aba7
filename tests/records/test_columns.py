"""Every table is declared once, and the results page is made from the declarations."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from editcore.records.columns import described, keys, real, schema, schema_name, text
from editcore.records.columns_page import renewed, tables
from editcore.records.metric_columns import PROBE_COLUMNS, PROBES
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from tests.rows import edit_row

PAGE = Path(__file__).parents[2] / "results" / "README.md"


def test_the_page_of_results_lists_the_columns_that_are_declared() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "python -m editcore.records.columns_page results/README.md"
    for name, table in tables().items():
        listed = f"columns: {name} -->" in page or f"columns: {name} beyond" in page
        assert listed, schema_name(table)


@pytest.mark.parametrize("table", tables().values(), ids=schema_name)
def test_every_column_has_a_meaning_and_every_key_is_a_column(table: pa.Schema) -> None:
    assert all(column.meaning for column in described(table))
    assert {*keys(table)} <= {*table.names}
    assert len({*table.names}) == len(table.names)


def test_a_file_contains_the_meaning_of_its_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", [edit_row(1)], EDITS, {})
    assert described(pq.read_schema(tmp_path / "a.parquet")) == described(EDITS)


def test_the_columns_of_probes_are_declared_though_only_some_tables_have_them(
    tmp_path: Path,
) -> None:
    write_table(tmp_path / "a.parquet", [edit_row(1, portability=0.5, fluency=1.0)], EDITS, {})
    found = pq.read_schema(tmp_path / "a.parquet")
    declared = [column for column in PROBES if column.name == "portability"]
    assert described(pa.schema([found.field("portability")])) == declared
    assert found.names[len(EDITS.names) :] == ["fluency", "portability"]
    assert not {*PROBE_COLUMNS} & {*EDITS.names}


def test_a_block_of_the_page_follows_its_table() -> None:
    block = "above\n<!-- columns: guard -->\nold\n<!-- end -->\nbelow"
    made = renewed(block)
    assert made.startswith(
        "above\n<!-- columns: guard -->\n`guard/3`, ordered by model, editor, step."
    )
    assert "| accepted | bool | whether the edit is part of `delta.safetensors` |" in made
    assert made.endswith("<!-- end -->\nbelow") and "old" not in made
    with pytest.raises(KeyError):
        renewed(block.replace("guard", "nothing"))


def test_keys_and_status_are_never_null() -> None:
    made = schema("t/1", ("a", "b"), (text("a", "x"), text("b", "y"), real("c", "z")), ("b",))
    assert [made.field(name).nullable for name in ("a", "b", "c")] == [False, True, True]
