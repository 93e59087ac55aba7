"""Tables are read by their header, and a user's own columns by the names that the user gives."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.config.columns import ColumnNames
from editcore.datasets.data_file import DataFile
from editcore.datasets.items import items_of
from editcore.datasets.readers import read_dataset, read_texts
from editcore.errors import DataError
from editcore.registry.registry import load_registry
from editcore.requests import EditRequest, Probe
from tests.data_sets import COLUMNS, RECORDS, TABLE


def table(*rows: dict[str, str], separator: str = ",") -> str:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(path: Path, content: str, **columns: Any) -> list[EditRequest]:
    path.write_bytes(content.encode())
    named = ColumnNames.model_validate(columns) if columns else None
    return read_dataset(DataFile(str(path), columns=named), load_registry())[1]


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.tsv", "\t")])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_is_read_as_its_records_are(
    name: str, separator: str, mark: str, tmp_path: Path
) -> None:
    record = RECORDS["hallueditbench"] | {"question": 'Which language,\n"if any", is Ada Moor\'s?'}
    content = mark + table(record, separator=separator)
    (tmp_path / "t.json").write_text(json.dumps([record]))
    assert read(tmp_path / name, content) == read(tmp_path / "t.json", json.dumps([record]))


def test_places_are_the_lines_in_which_records_begin(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"one\ntwo",2\n\n3\n"4"5,6\n7,8\n')
    found = [(str(place), item) for place, item in items_of(path)]
    (_, short), (_, quoted) = found[1:3]
    assert [place for place, _ in found] == ["line 2", "line 5", "line 6", "line 7"]
    assert (found[0][1], found[3][1]) == ({"a": "one\ntwo", "b": "2"}, {"a": "7", "b": "8"})
    assert short.reason.startswith("1 values for 2 columns")
    assert quoted.reason.startswith("not a row of a table")


def test_texts_can_be_a_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('n,text\n1,"One, two."\n2,Three.\n')
    assert read_texts(tmp_path / "t.csv") == ["One, two.", "Three."]


def test_a_user_s_own_columns_are_read(tmp_path: Path) -> None:
    (request,) = read(tmp_path / "t.csv", TABLE, **COLUMNS)
    assert request == EditRequest(
        case_id=0,
        prompt="Which language does {} speak?",
        subject="Ada Moor",
        target_new="Drell",
        target_true="",
        paraphrases=("What is spoken by Ada Moor?",),
        neighbours=(Probe("Who built the bridge,\nthe old one?", "Cy Hart"),),
        consequences=(Probe("Where is it spoken?", "Velra"),),
    )


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_columns_are_the_fields_of_json_objects_too(name: str, tmp_path: Path) -> None:
    record = {"q": "{} speaks", "who": "Ada", "a": "Drell ", "n": "7", "also": ["Dr", "Drell"]}
    record |= {"then": "She reads", "so": "Velran", "and": "It is near", "near": "Osk"}
    content = json.dumps([record] if name == "t.json" else record)
    columns: dict[str, Any] = {
        "prompt": "q",
        "subject": "who",
        "target_new": "a",
        "aliases": "also",
    }
    columns |= {"case_id": "n", "consequences": ["then", "and"]}
    (request,) = read(tmp_path / name, content, **columns, consequence_answers=["so", "near"])
    assert (request.case_id, request.text, request.target_new) == (7, "Ada speaks", "Drell")
    assert request.aliases == ("Dr",)
    assert request.consequences == (
        Probe("She reads", "Velran", (), "then"),
        Probe("It is near", "Osk", (), "and"),
    )


def test_malformed_rows_give_their_line_and_column(tmp_path: Path) -> None:
    lines = TABLE + ",Ada Moor,Drell,,,,,,\nWho?,Ada Moor,Drell,,,Who else?,,,\nWho?,,Drell\n"
    good, missing, unanswered, short = read(tmp_path / "t.csv", lines, **COLUMNS)
    assert good.flaw == ""
    assert missing.flaw.startswith("line 4 (case_id 1): the field 'Question' is missing")
    assert unanswered.flaw.startswith("line 5: 1 prompts in 'Other' but 0 answers in 'Oth")
    assert short.flaw.startswith("line 6: 3 values for 9 columns")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TABLE.replace("Person", "Persn"), r"there is no column 'Person'.*'Persn'\?"),
        (TABLE.replace("Person", "Answer"), "two columns have the name 'Answer'"),
        ("Question\n", "contains no records"),
        ('"Question\n', "line 1: not a row of a table"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"t\.csv.*{reason}"):
        read(tmp_path / "t.csv", content, **COLUMNS)


def examined(tmp_path: Path, *options: str) -> Result:
    path = tmp_path / "t.csv"
    path.write_text(TABLE + "Who speaks Drell?,Ben Fold,Ada Moor,,,,,,\n")
    return CliRunner().invoke(main, ["data", str(path), *options])


def test_the_command_reads_named_columns(tmp_path: Path) -> None:
    pairs = [
        f"{part}={name}"
        for part, names in COLUMNS.items()
        for name in ([names] if isinstance(names, str) else names)
    ]
    done = examined(tmp_path, "--columns", ",".join(pairs))
    assert done.exit_code == 3
    for line in (
        "2 facts by named columns",
        "no subject in the prompt: 1 fact",
        "case 1: 'Who speaks Drell?' contains no subject",
        "follows: Where is it spoken? → 'Velra'",
    ):
        assert line in done.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--columns", "promt=Question,target_new=Answer"), "Did you mean 'prompt'?"),
        (("--columns", "prompt=Question"), "columns.target_new: this key is missing"),
        (("--columns", "Question"), "write the part of a fact, `=` and its column"),
        (
            ("--columns", "prompt=Question,target_new=Answer", "--format", "flat"),
            "leave out `format` or `columns`",
        ),
        (
            ("--columns", "prompt=Question,target_new=Answer,neighbours=Other"),
            "neighbours has 1 columns and neighbour_answers 0",
        ),
    ],
)
def test_wrong_columns_are_refused(options: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    done = examined(tmp_path, *options)
    assert done.exit_code != 0
    assert reason in str(done.exception) + done.output
