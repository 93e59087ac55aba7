"""Guarded edits as JUnit XML and SARIF: every edit is there, with its verdict and its place."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from click.testing import CliRunner, Result

from editcore import EditRequest
from editcore.cli import main
from editcore.cli.check import guard as command
from editcore.datasets.located import Located
from editcore.datasets.writers import flat_record
from editcore.runs.adhoc.guard import Guarded, guard
from editcore.runs.adhoc.guard_reports.findings import RULES, findings
from editcore.runs.adhoc.guard_reports.junit import junit
from editcore.runs.adhoc.guard_reports.sarif import sarif
from editcore.runs.prepare import Choice
from tests.runs.test_guard import facts, silent
from tests.studies import SMALL, write_config

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
# What SARIF 2.1.0 requires of the parts that are written, and what code hosts read.
LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {"required": ["uri"], "properties": {"uri": {"format": "uri"}}},
                "region": {"properties": {"startLine": {"type": "integer", "minimum": 1}}},
            },
            "additionalProperties": False,
        }
    },
}
RESULT = {
    "type": "object",
    "required": ["message", "ruleId", "level", "locations"],
    "properties": {
        "ruleId": {"enum": list(RULES)},
        "ruleIndex": {"type": "integer", "minimum": 0, "maximum": len(RULES) - 1},
        "level": LEVEL,
        "message": TEXT,
        "locations": {"type": "array", "minItems": 1, "items": LOCATION},
    },
    "additionalProperties": False,
}
RULE = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "shortDescription": TEXT},
    "additionalProperties": False,
}
DRIVER = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"const": "editcore"},
        "version": {"type": "string"},
        "rules": {"type": "array", "uniqueItems": True, "items": RULE},
    },
    "additionalProperties": False,
}
NOTE = {"type": "object", "required": ["message"], "properties": {"message": TEXT, "level": LEVEL}}
INVOCATION = {
    "type": "object",
    "required": ["executionSuccessful"],
    "properties": {
        "executionSuccessful": {"type": "boolean"},
        "toolExecutionNotifications": {"type": "array", "items": NOTE},
    },
    "additionalProperties": False,
}
RUN = {
    "type": "object",
    "required": ["tool", "results"],
    "properties": {
        "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER}},
        "invocations": {"type": "array", "items": INVOCATION},
        "results": {"type": "array", "items": RESULT},
    },
    "additionalProperties": False,
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": RUN},
    },
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("reports") / "study.yaml", SMALL)


@pytest.fixture(scope="module")
def guarded(study: Path) -> Guarded:
    """Three edits that are accepted, one that is refused, and one that is not tried."""
    choice = Choice("tiny-gpt2", "rome", {}, study)
    made = guard(choice, facts()[:4], study.parent, silent, allow_damage=True)
    made = replace(made, untried=facts()[4:], stopped="the last one was refused")
    assert [row["accepted"] for row in made.rows] == [True, True, True, False]
    return made


def read_sarif(text: str) -> dict[str, Any]:
    """The run of a document with the structure of SARIF."""
    document = json.loads(text)
    jsonschema.validate(document, SARIF)
    (run,) = document["runs"]
    for result in run["results"]:
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
    return dict(run)


def write_facts(path: Path, requests: list[EditRequest]) -> Path:
    path.write_text(json.dumps([flat_record(request) for request in requests], indent=2))
    return path


def located(requests: list[EditRequest], path: Path = Path("edits.json")) -> list[Located]:
    return [Located(request, path, 7) for request in requests]


def test_junit_has_a_test_for_each_edit(guarded: Guarded) -> None:
    root = ElementTree.fromstring(junit(guarded))
    suite = root.find("testsuite")
    assert suite is not None
    for part in (root, suite):
        counts = [part.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counts == ["5", "1", "0", "1"]
    tests = root.findall(".//testcase")
    expected = [f"{request.text} → {request.target_new}" for request in facts()]
    assert [test.get("name") for test in tests] == expected
    assert {test.get("classname") for test in tests} == {"tiny-gpt2.rome"}
    outcomes = ["failure", "skipped"]
    kinds = [[child.tag for child in test if child.tag in outcomes] for test in tests]
    assert kinds == [[], [], [], ["failure"], ["skipped"]]
    failure, skipped = tests[3][0], tests[4][0]
    assert guarded.rows[3]["status"] == f"refused: {failure.get('message')}"
    assert (failure.get("type"), failure.text) == ("collapsed", failure.get("message"))
    assert skipped.get("message") == f"not tried: {guarded.stopped}"


def test_characters_that_xml_cannot_contain_are_written_out(guarded: Guarded) -> None:
    odd = {"subject": 'a\x00b\x1f<&">\ufffe\ud800', "status": "refused: \x07bell & <more>\n"}
    root = ElementTree.fromstring(junit(replace(guarded, rows=[guarded.rows[3] | odd])))
    (test, _) = root.findall(".//testcase")
    assert str(test.get("name")).startswith('a\\x00b\\x1f<&">\\ufffe\\ud800')
    assert test[0].get("message") == "\\x07bell & <more>\n"


def test_every_kind_of_finding_has_its_rule_and_level(guarded: Guarded) -> None:
    first, *_, refused = guarded.rows
    sound = first | {"grade": "sound", "took": True, "endangers": None}
    cases: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
        (sound, []),
        (sound | {"grade": "damaged"}, [("damaged", "warning")]),
        (sound | {"took": False}, [("without-effect", "warning")]),
        (sound | {"endangers": f"[{sound['case_id']}]"}, [("endangers", "warning")]),
        (refused | {"grade": "collapsed"}, [("collapsed", "error")]),
        (refused | {"grade": "damaged"}, [("damaged", "error")]),
        (refused | {"grade": None}, [("not-made", "error")]),
    ]
    for row, expected in cases:
        found = findings(replace(guarded, rows=[row]))
        assert [(each.rule, each.level) for each in found] == expected
    assert {rule for _, found in cases for rule, _ in found} == set(RULES)


def test_sarif_has_a_result_for_each_finding(guarded: Guarded) -> None:
    run = read_sarif(sarif(guarded, located(facts())))
    found = list(findings(guarded))
    assert [result["ruleId"] for result in run["results"]] == [each.rule for each in found]
    (refusal,) = (result for result in run["results"] if result["level"] == "error")
    assert refusal["message"]["text"].endswith(guarded.rows[3]["status"].removeprefix("refused: "))
    (notice,) = run["invocations"][0]["toolExecutionNotifications"][-1:]
    assert guarded.stopped in notice["message"]["text"]


def test_a_place_is_relative_to_the_working_directory_and_quoted(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outside = Path(tmp_path.anchor) / "else where.json"
    for path, uri in (
        (Path("my edits.json"), "my%20edits.json"),
        (tmp_path / "data" / "a:b.json", "data/a%3Ab.json"),
        (outside, outside.as_uri()),
    ):
        run = read_sarif(sarif(guarded, located(facts(), path)))
        place = run["results"][0]["locations"][0]["physicalLocation"]
        assert place == {"artifactLocation": {"uri": uri}, "region": {"startLine": 7}}


def run(study: Path, *arguments: str) -> Result:
    chosen = ["--model", "tiny-gpt2", "--editor", "rome", "--config", str(study)]
    cache = ["--cache", str(study.parent)]
    return CliRunner().invoke(main, ["guard", *arguments, *chosen, *cache])


def test_results_of_several_files_are_at_the_lines_of_their_records(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collapse limit below 1 refuses every edit, so that each has a result."""
    monkeypatch.chdir(tmp_path)
    strict = write_config(tmp_path / "strict.yaml", SMALL | {"collapse": {"ratio": 1e-9}})
    first, second, third, *_ = facts()
    files = [
        write_facts(tmp_path / "edits.json", [first, second]),
        write_facts(tmp_path / "more.json", [replace(third, case_id=first.case_id)]),
    ]
    done = run(strict, *[file.name for file in files], "--format", "sarif")
    assert done.exit_code == 3, done.output
    results = read_sarif(done.stdout)["results"]
    assert [result["ruleId"] for result in results] == ["collapsed"] * 3
    places = [result["locations"][0]["physicalLocation"] for result in results]
    names = [place["artifactLocation"]["uri"] for place in places]
    assert names == ["edits.json", "edits.json", "more.json"]
    for place, result, request in zip(places, results, (first, second, third), strict=True):
        lines = Path(place["artifactLocation"]["uri"]).read_text().splitlines(keepends=True)
        rest = "".join(lines[place["region"]["startLine"] - 1 :]).lstrip()
        record, _ = json.JSONDecoder().raw_decode(rest)
        assert record["subject"] == request.subject
        assert result["message"]["text"].startswith(request.text)


def test_a_report_is_written_next_to_the_text(study: Path, tmp_path: Path) -> None:
    edits = str(write_facts(tmp_path / "edits.json", facts()[:1]))
    report = tmp_path / "made" / "guard.xml"
    done = run(study, edits, "--format", "junit", "--report", str(report))
    assert done.exit_code == 0, done.output
    assert "1 of 1 edits accepted." in done.stdout
    assert ElementTree.parse(report).getroot().get("tests") == "1"
    assert not list(tmp_path.rglob("*.safetensors")), "without --out, nothing else is written"


def test_json_has_a_short_option(study: Path) -> None:
    needed = [str(study), "--model", "tiny-gpt2", "--editor", "rome"]
    short, long = (
        command.make_context("guard", [*needed, *how]).params["form"]
        for how in (["--json"], ["--format", "json"])
    )
    assert short == long == "json"


def test_a_record_that_cannot_be_read_is_a_result_at_its_line(study: Path, tmp_path: Path) -> None:
    record = json.dumps(flat_record(facts()[0]))
    (tmp_path / "edits.jsonl").write_text(f"{record}\n{{oops\n")
    done = run(study, str(tmp_path / "edits.jsonl"), "--format", "sarif")
    assert done.exit_code == 3, done.output
    (result,) = read_sarif(done.stdout)["results"]
    assert (result["ruleId"], result["level"]) == ("not-made", "error")
    assert re.fullmatch(r"case -2: line 2: not valid JSON .*", result["message"]["text"])
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
