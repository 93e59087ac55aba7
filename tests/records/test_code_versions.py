"""`editcore doctor` names rows made by different versions of code, and what to do."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from editcore.cli import main
from editcore.records.code_versions import described
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from tests.rows import edit_row


def table(
    folder: Path, case: int, editor: str, code: str = "aaa", own: str = "111", version: str = "1.0"
) -> Path:
    """A shard as its job would write it, with the code that made it."""
    made = {"label": editor, "distribution": "editcore-x", "version": version, "code": code}
    record = {"job": {"editor": made}, "code": own, "versions": {"editcore": "0.1.0"}}
    path = folder / "edits" / f"editor={editor}" / f"shard-{case}.parquet"
    write_table(path, [edit_row(case, editor=editor)], EDITS, record)
    return path


def test_rows_of_one_version_are_not_mentioned(tmp_path: Path) -> None:
    for case, editor in enumerate(("rome", "rome", "ft")):
        table(tmp_path, case, editor, code=editor)
    assert list(described(tmp_path)) == []
    assert list(described(tmp_path / "none")) == []


@pytest.mark.parametrize("newer", [{"code": "bbb"}, {"version": "1.1"}])
def test_an_editor_of_two_versions_is_named_and_no_other(
    tmp_path: Path, newer: dict[str, str]
) -> None:
    old = table(tmp_path, 1, "rome")
    new = [table(tmp_path, case, "rome", **newer) for case in (2, 3)]
    table(tmp_path, 4, "ft", code="ccc")
    ((subject, text),) = described(tmp_path)
    assert subject == "rows of rome"
    assert f"1 file by editcore-x 1.0 (code aaa), such as {old}" in text
    assert f"2 files by editcore-x {newer.get('version', '1.0')} " in text
    assert f"(code {newer.get('code', 'aaa')}), such as {new[0]}" in text
    assert "Run snakemake" in text


def test_editcore_itself_of_two_versions_is_named(tmp_path: Path) -> None:
    table(tmp_path, 1, "rome")
    table(tmp_path, 2, "ft", own="222")
    ((subject, text),) = described(tmp_path)
    assert subject == "rows of all editors"
    assert "editcore 0.1.0 (code 111)" in text and "editcore 0.1.0 (code 222)" in text
    assert "delete the older files" in text


def test_doctor_reports_it_and_succeeds(tmp_path: Path) -> None:
    table(tmp_path, 1, "rome")
    table(tmp_path, 2, "rome", code="bbb")
    broken = table(tmp_path, 3, "rome")
    broken.write_bytes(broken.read_bytes()[:-9])
    done = CliRunner().invoke(main, ["doctor", "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    notes = [line for line in done.output.splitlines() if line.startswith("NB ")]
    assert len(notes) == 2
    assert notes[0].startswith(f"NB  results: {broken}: not a whole Parquet file")
    assert notes[1].startswith("NB  rows of rome: made by different versions: 1 file by editcore-x")
