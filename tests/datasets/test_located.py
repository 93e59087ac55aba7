"""Facts of several files have distinct case ids, and the line that their record begins in."""

import json
from pathlib import Path
from typing import Any

import pytest

from editcore.datasets.located import read_located
from tests.studies import record, write_json

RECORDS = [record(3, "Coral"), record(4, 'Ta"v]e{l,'), record(5, "Elro")]
TEXTS = {
    "lines": json.dumps(RECORDS, indent=2),
    "one line": json.dumps(RECORDS),
    "odd": "\n [\n\n" + " ,\n\n".join(json.dumps(each, indent=1) for each in RECORDS) + "\n]\n",
}


def starts(text: str, line: int | None) -> Any:
    """The record that begins in a line."""
    assert line is not None
    rest = "".join(text.splitlines(keepends=True)[line - 1 :])
    return json.JSONDecoder().raw_decode(rest[rest.index("{") :])[0]


@pytest.mark.parametrize("name", ["lines", "odd"])
def test_each_record_of_a_list_begins_in_its_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(TEXTS[name])
    assert [starts(TEXTS[name], each.line) for each in read_located([path])] == RECORDS


def test_records_on_one_line_and_on_a_line_each(tmp_path: Path) -> None:
    short, lines = tmp_path / "facts.json", tmp_path / "facts.jsonl"
    short.write_text(TEXTS["one line"])
    lines.write_text("\n".join(["", *map(json.dumps, RECORDS)]))
    assert [each.line for each in read_located([short])] == [1, 1, 1]
    assert [each.line for each in read_located([lines])] == [2, 3, 4]


def test_a_case_id_that_an_earlier_file_has_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    one = write_json(tmp_path / "one.json", [record(5, "Coral")])
    other = write_json(tmp_path / "other.json", [record(5, "Tavel"), record(6, "Elro")])
    found = read_located([one, other])
    assert [each.request.case_id for each in found] == [5, 7, 6]
    assert [each.request.subject for each in found] == ["Coral", "Tavel", "Elro"]
    assert [each.path for each in found] == [one, other, other]
