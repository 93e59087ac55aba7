"""What is wrong with the facts of a data file is found, and said with their cases."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from tests.data_sets import RECORDS
from tests.studies import write_json


def fact(number: int, subject: str, new: str, true: str = "", **more: Any) -> dict[str, Any]:
    own = {"case_id": number, "prompt": "{} is made by", "subject": subject, "target_new": new}
    return own | {"ground_truth": true} | more


SOUND = fact(1, "Coral", "Osdor", "Elro")
FAULTY = [
    SOUND,
    fact(2, "Harbor", "Osdor"),
    fact(3, "harbor ", "Elro"),  # contradicts 2
    fact(4, "Lamp", "Kadra"),
    fact(5, "Lamp", "kadra"),  # is 4 again
    fact(6, "Anchor", "Unosk", "unosk"),
    fact(7, "Amber", "Graal", prompt="Amber, or {}, is made by"),
    fact(8, "Velra Lens", "Velra"),
    fact(9, "Neighbor", "HBO"),
    fact(10, "", "Osdor", prompt="{} is made by"),
    "no record",
]
KINDS = {
    "cannot be edited": [[10], [-11]],
    "contradictory": [[2, 3]],
    "double": [[4, 5]],
    "already true": [[6]],
    "subject more than once": [[7]],
    "new object in the prompt": [[8]],
}


def examined(path: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["data", str(path), *more])


def test_each_problem_is_found_with_its_cases(tmp_path: Path) -> None:
    done = examined(write_json(tmp_path / "facts.json", FAULTY), "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["format"] == "flat"
    assert (found["counts"]["facts"], found["counts"]["can be edited"]) == (11, 9)
    by_kind: dict[str, list[list[int]]] = {}
    for problem in found["problems"]:
        by_kind.setdefault(problem["kind"], []).append(problem["case_ids"])
    assert by_kind == KINDS


def test_the_page_names_cases_and_shows_facts(tmp_path: Path) -> None:
    done = examined(write_json(tmp_path / "facts.json", FAULTY), "--preview", "1")
    assert done.exit_code == 3
    for line in (
        "11 facts in the format flat",
        "cannot be edited: 2 facts",
        "case -11: record 10: an object with the fields of one fact is needed",
        "cases 2 and 3: 'Harbor is made by' is to give 'Osdor' and 'Elro'",
        "cases 4 and 5: 'Lamp is made by' → 'Kadra' occurs 2 times",
        "case 1: Coral is made by → 'Osdor', not 'Elro'",
    ):
        assert line in done.stdout
    assert "case 2: Harbor" not in done.stdout, "one fact was asked for"


def test_what_follows_and_what_is_edited_together_is_counted_and_shown(tmp_path: Path) -> None:
    path = write_json(tmp_path / "facts.json", [RECORDS["mquake"]])
    found = json.loads(examined(path, "--json").stdout)["counts"]
    names = ("consequences", "aliases", "cases of several facts")
    assert [found[name] for name in names] == [5, 1, 1]
    page = examined(path).stdout
    assert "follows (multi-hop): Where is the language of Ada Moor spoken? → 'Velra'" in page
    assert "edited with 1 further fact" in page


def test_long_lists_are_cut(tmp_path: Path) -> None:
    facts = [fact(number, f"Word{number}", "Elro", "Elro") for number in range(1, 10)]
    page = examined(write_json(tmp_path / "facts.json", facts)).stdout
    assert "already true: 9 facts" in page
    assert "… and 4 more" in page


def test_a_sound_file_passes(tmp_path: Path) -> None:
    done = examined(write_json(tmp_path / "facts.json", [SOUND]), "--preview", "0")
    assert done.exit_code == 0
    assert "nothing is wrong with them" in done.stdout
    assert "Coral" not in done.stdout


@pytest.mark.parametrize(
    ("content", "reason"), [("[]", "contains no records"), ("{", "not valid JSON")]
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "facts.json").write_text(content, encoding="utf-8")
    done = examined(tmp_path / "facts.json")
    assert done.exit_code == 2
    assert reason in done.output


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    done = examined(write_json(tmp_path / "facts.json", [SOUND]), "--format", "nope")
    assert done.exit_code == 2
    assert "unknown data-set format 'nope'" in done.output
