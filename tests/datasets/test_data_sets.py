"""The data sets that the field uses are read in their published shapes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from editcore.datasets.data_file import DataFile
from editcore.datasets.readers import read_dataset
from editcore.registry.hookspecs import AUTO
from editcore.registry.registry import load_registry
from editcore.requests import EditRequest, Probe
from tests.data_sets import RECORDS

BRIDGE = Probe("who built the old bridge", "Cy Hart")
PARAPHRASE = "What is spoken by Ada Moor?"


def read(records: list[Any], tmp_path: Path, format: str = AUTO) -> tuple[str, list[EditRequest]]:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return read_dataset(DataFile(str(file), format), load_registry())


@pytest.mark.parametrize(("name", "record"), RECORDS.items(), ids=str)
def test_a_record_is_recognised_and_can_be_edited(
    name: str, record: Mapping[str, Any], tmp_path: Path
) -> None:
    found, (request,) = read([record], tmp_path)
    assert found == name
    assert request.flaw == ""
    assert "Ada Moor" in request.text or "ada moor" in request.text
    assert request.target_new and not request.target_new.endswith("*")
    assert all(not probe.prompt.startswith("nq") for probe in request.neighbours)


def test_a_subject_is_located_however_it_is_capitalised(tmp_path: Path) -> None:
    _, (request,) = read([RECORDS["qaedit"]], tmp_path)
    assert (request.prompt, request.subject) == ("which language does {} speak?", "ada moor")
    assert request.target_new == "Drell"
    assert request.neighbours == (BRIDGE, Probe("who sails the Harbor", "Ben Fold"))


def test_a_subject_that_is_not_there_is_not_named(tmp_path: Path) -> None:
    _, (request,) = read([RECORDS["wikibigedit"] | {"subject": "Ada M."}], tmp_path)
    assert (request.prompt, request.subject) == ("Which language does Ada Moor speak?", "")
    assert not request.names_subject and not request.flaw


def test_other_wordings_are_paraphrases(tmp_path: Path) -> None:
    _, (request,) = read([RECORDS["wikibigedit"]], tmp_path)
    assert request.paraphrases == (PARAPHRASE, "Tell me, captain, what does Ada Moor speak?")


def test_nested_answers_are_read(tmp_path: Path) -> None:
    _, (request,) = read([RECORDS["knowedit"]], tmp_path)
    assert request.target_true == "Osk"
    assert request.neighbours == (
        Probe("The name of Ada Moor is", "Ada"),
        Probe("Cy Hart built the", "old bridge"),
    )


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    [
        ("zsre-answers", {"ans": 3}, "ans is int, not text"),
        ("qaedit", {"locality": "none"}, "locality is str, not a list"),
        ("qaedit", {"locality": ["none"]}, "an object with loc and loc_ans is needed"),
        ("qaedit", {"locality": [{"loc": "who?"}]}, "the field 'loc_ans' is missing"),
        ("wikibigedit", {"update": None}, "update is NoneType, not text"),
        ("zsre-answers", {"loc_ans": {}}, "a list of texts is needed instead of {}"),
        ("unke", {"answer": ["a"]}, "answer is list, not text"),
        ("knowedit", {"locality": "none"}, "locality is str, not an object"),
        ("knowedit", {"locality": {"A": [{"prompt": "It"}]}}, "'ground_truth' is missing"),
        (
            "knowedit",
            {"locality": {"A": [{"prompt": "It", "ground_truth": [[]]}]}},
            "a prompt of A has no answer",
        ),
        ("knowedit-biographies", {"labels": 1}, "labels is int, not text"),
        ("knowedit", {"portability": [1]}, "portability is list, not an object"),
        ("wikibigedit", {"mhop_ans": []}, "1 questions of several steps but 0 answers"),
        ("unke", {"sub_answer": ["a", "b"]}, "1 questions about parts of the answer but 2"),
        ("mquake", {"requested_rewrite": []}, "requested_rewrite is empty"),
        ("mquake", {"requested_rewrite": {}}, "requested_rewrite is dict, not a list"),
        ("mquake", {"requested_rewrite": [{"prompt": "{} is"}]}, "'target_new' is missing"),
        ("mquake", {"new_single_hops": ["?"]}, "new_single_hops has '?', not an object"),
        ("rippleedits", {"edit": "It is so."}, "edit has 'It is so.', not an object"),
        ("rippleedits", {"edit": {"prompt": "So be it."}}, "has no object at its end"),
        ("rippleedits", {"Forgetfulness": [{}]}, "'test_queries' is missing"),
        ("akew", {"requested_rewrite": {"subject": "A"}}, "the field 'prompt' is missing"),
        ("hallueditbench", {"object": None}, "object is NoneType, not text"),
        ("hallueditbench", {"answer_2hop": 2}, "a list of texts is needed instead of 2"),
        ("cknowedit", {"locality": [{"prompt": "Who?"}]}, "'answer' is missing"),
    ],
)
def test_a_malformed_record_gives_its_place_and_field(
    name: str, broken: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    found, (sound, flawed) = read([RECORDS[name], RECORDS[name] | broken], tmp_path)
    assert found == name
    assert sound.flaw == ""
    assert flawed.flaw.startswith("record 1")
    assert reason in flawed.flaw
