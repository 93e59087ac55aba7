"""What a data set says must follow from an edit is read with all its accepted answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from editcore.datasets.formats.rippleedits import rippleedits
from editcore.requests import EditRequest, Probe
from tests.data_sets import RECORDS
from tests.datasets.test_data_sets import read


def only(name: str, tmp_path: Path, **changes: Any) -> EditRequest:
    found, (request,) = read([RECORDS[name] | changes], tmp_path)
    assert found == name
    return request


def test_a_case_of_several_facts_is_one_request_with_further_ones(tmp_path: Path) -> None:
    request = only("mquake", tmp_path)
    assert (request.text, request.target_new) == ("The language of Ada Moor is", "Drell")
    assert request.question == "Which language does Ada Moor speak?"
    assert request.aliases == ("Old Drell",)
    (other,) = request.further
    assert (other.text, other.target_new, other.target_true) == (
        "Drell is spoken in",
        "Velra",
        "Kadra",
    )
    assert (other.question, other.case_id) == ("Where is Drell spoken?", request.case_id)
    assert request.consequences == (
        *(
            Probe(question, "Velra", ("the Velra Isles",), "multi-hop")
            for question in RECORDS["mquake"]["questions"]
        ),
        Probe("Which language does Ada Moor speak?", "Drell", ("Old Drell",), "single-hop"),
        Probe("Drell is spoken in", "Velra", (), "single-hop"),
    )


def test_a_flaw_of_a_further_fact_is_a_flaw_of_the_case(tmp_path: Path) -> None:
    first, second = RECORDS["mquake"]["requested_rewrite"]
    broken = {**second, "prompt": "It is spoken in"}
    request = only("mquake", tmp_path, requested_rewrite=[first, broken])
    assert request.flaw.startswith("fact 2 of the case: the prompt 'It is spoken in' needs")


def test_a_sentence_is_split_into_its_fact(tmp_path: Path) -> None:
    request = only("rippleedits", tmp_path)
    assert request.prompt == "The name of the country of citizenship of {} is"
    assert (request.subject, request.relation) == ("Ada Moor", "COUNTRY_OF_CITIZENSHIP")
    assert (request.target_new, request.target_true) == ("New Velra", "New Kadra")
    assert request.aliases == ("the Velra Isles",)
    assert [(probe.kind, probe.target) for probe in request.consequences] == [
        ("Subject_Aliasing", "New Velra"),
        ("Compositionality_I", "Osk"),
    ]
    assert request.consequences[1].aliases == ("Port Osk",)
    assert [(probe.kind, probe.target) for probe in request.neighbours] == [
        ("Relation_Specificity", "Eva Moor"),
        ("Forgetfulness", "New Kadra"),
    ]


@pytest.mark.parametrize(
    ("sentence", "relation", "prompt", "subject", "target"),
    [
        ("The gender of Duke of York is male.", "SEX_OR_GENDER", "The gender of {} is",
         "Duke of York", "male"),
        ("The place of birth of The Weeknd is Osk.", "PLACE_OF_BIRTH",
         "The place of birth of {} is", "The Weeknd", "Osk"),
        ("The name of the country which Port Osk is associated with is Velra.", "COUNTRY",
         "The name of the country which {} is associated with is", "Port Osk", "Velra"),
        ("The name of the league which Ada Moor plays in is the Harbor League.", "LEAGUE",
         "The name of the league which {} plays in is", "Ada Moor", "the Harbor League"),
        ("The name of the award Ada Moor won is the Lamp.", "AWARD_RECEIVED",
         "The name of the award {} won is", "Ada Moor", "the Lamp"),
        ("The number of children Ada Moor has is 3.", "NUMBER_OF_CHILDREN",
         "The number of children {} has is", "Ada Moor", "3"),
        ("The name of the currency in Velra is the crown.", "CURRENCY",
         "The name of the currency in {} is", "Velra", "the crown"),
        ("The names of the siblings of Ada Moor are Eva Moor.", "SIBLING",
         "The names of the siblings of {} are", "Ada Moor", "Eva Moor"),
        ("The Old Bridge is followed by The New Bridge.", "FOLLOWED_BY", "{} is followed by",
         "The Old Bridge", "The New Bridge"),
    ],
)  # fmt: skip
def test_subjects_and_objects_are_found_in_every_wording(
    sentence: str, relation: str, prompt: str, subject: str, target: str
) -> None:
    edit = {"prompt": sentence, "relation": relation, "subject_id": "Q1", "target_id": "Q2"}
    request = rippleedits({"edit": edit}, 0)
    assert (request.prompt, request.subject, request.target_new) == (prompt, subject, target)


def test_a_subject_that_the_tests_do_not_confirm_is_not_named(tmp_path: Path) -> None:
    (test,) = RECORDS["rippleedits"]["Relation_Specificity"]
    (query,) = test["test_queries"]
    other = {**test, "test_queries": [{**query, "prompt": "The mother of Eva Hart is"}]}
    request = only("rippleedits", tmp_path, Relation_Specificity=[other])
    assert request.subject == ""
    assert request.prompt == "The name of the country of citizenship of Ada Moor is"


def test_a_text_is_the_new_object_and_its_facts_follow(tmp_path: Path) -> None:
    request = only("akew", tmp_path)
    assert (request.prompt, request.subject) == ("The language of {} is", "Ada Moor")
    assert request.target_new == RECORDS["akew"]["requested_rewrite"]["fact_new_uns"]
    assert request.target_true == "", "a text has no counterpart"
    assert request.consequences == (Probe("Ada Moor grew up by", "the sea", (), "part"),)
    assert request.neighbours == (Probe("Ben Fold speaks", "Osk"),)


def test_the_other_files_of_akew_are_read_too(tmp_path: Path) -> None:
    rewrite = RECORDS["akew"]["requested_rewrite"]
    several = [
        {**fact, "fact_new_uns": rewrite["fact_new_uns"]}
        for fact in RECORDS["mquake"]["requested_rewrite"]
    ]
    _, (cases,) = read([RECORDS["mquake"] | {"requested_rewrite": several}], tmp_path, "akew")
    assert [fact.target_new for fact in (cases, *cases.further)] == [rewrite["fact_new_uns"]] * 2
    assert {probe.kind for probe in cases.consequences} == {"multi-hop", "single-hop"}
    update = {
        "requested_rewrite": {
            "subject": "Ada Moor",
            "prompt": "The head of {} is",
            "answer_new": "Ben Fold",
            "answer_true": "Cy Hart",
            "question": "Who is the head of Ada Moor?",
        },
        "loc": "who built the old bridge",
        "loc_ans": "Cy Hart",
    }
    _, (fact,) = read([update], tmp_path, "akew")
    assert (fact.target_new, fact.target_true) == ("Ben Fold", "Cy Hart")
    assert fact.neighbours == (Probe("who built the old bridge", "Cy Hart"),)


def test_questions_of_every_kind_have_their_answers(tmp_path: Path) -> None:
    request = only("hallueditbench", tmp_path)
    assert (request.prompt, request.subject) == ("Which language does {} speak?", "Ada Moor")
    assert [(probe.kind, probe.target) for probe in request.consequences] == [
        ("yes", "Yes"),
        ("no", "No"),
        ("multiple-choice", "B"),
        ("reversed", "Ada Moor"),
        ("2-hop", "Velra"),
    ]
    assert request.neighbours == (), "its question on another fact has no published answer"


def test_prompts_in_lists_or_in_fields_of_their_own_are_the_same(tmp_path: Path) -> None:
    nested: Mapping[str, Any] = RECORDS["cknowedit"]
    plain = {name: value for name, value in nested.items() if not isinstance(value, list)} | {
        "rephrase": nested["rephrase"],
        "portability_prompt": "谁说德雷尔语？",
        "portability_answer": "Ada Moor",
        "locality_prompt": "谁建了旧桥？",
        "locality_answer": "Cy Hart",
    }
    _, (one, other) = read([nested, plain | {"case_id": 1}], tmp_path)
    assert one.consequences == other.consequences == (Probe("谁说德雷尔语？", "Ada Moor"),)
    assert one.neighbours == other.neighbours == (Probe("谁建了旧桥？", "Cy Hart"),)
    assert (one.target_true, one.names_subject) == ("奥斯克语", False)


def test_what_older_formats_say_follows_is_read(tmp_path: Path) -> None:
    assert only("wikibigedit", tmp_path).consequences == (
        Probe("Where is the language of Ada Moor spoken?", "Osk", (), "multi-hop"),
    )
    assert only("unke", tmp_path).consequences == (
        Probe("Where does Ada Moor live?", "Osk", (), "part"),
    )
    groups = {
        "Reasoning": [{"prompt": "She speaks like", "ground_truth": [["Lo", "Old Lo"]]}],
        "Subject_Aliasing": [{"prompt": "Captain Moor speaks", "ground_truth": [[]]}],
    }
    assert only("knowedit", tmp_path, portability=groups).consequences == (
        Probe("She speaks like", "Lo", ("Old Lo",), "Reasoning"),
    )
