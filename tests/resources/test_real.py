"""The real world's facts, texts and tasks: their format, their sizes, and how they are made."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from editcore.datasets.readers import read_requests, read_texts
from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.models.loading import load_model
from editcore.requests import EditRequest
from editcore.testing.models import save_tiny_model
from resources.real.build import write_real
from resources.real.facts import draw_facts, false_objects, table
from resources.real.grammar import PHENOMENA
from resources.real.relations import RELATIONS

REAL = Path(__file__).parents[2] / "resources" / "real"
TASKS = ("real_questions", "real_choices", "real_cloze", "real_passages", "real_grammar")


@pytest.fixture(scope="module")
def requests() -> list[EditRequest]:
    return read_requests(REAL / "facts.json", "counterfact")


def lines(name: str) -> list[dict[str, Any]]:
    text = (REAL / "tasks" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_shipped_files_are_what_the_builder_writes(tmp_path: Path) -> None:
    write_real(tmp_path, seed=1)
    written = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(written) == 7
    assert all((tmp_path / p).read_bytes() == (REAL / p).read_bytes() for p in written)


def test_another_seed_gives_other_false_objects() -> None:
    assert {(f.subject, f.other) for f in draw_facts(1)} != {
        (f.subject, f.other) for f in draw_facts(2)
    }


def test_there_are_enough_facts_of_enough_relations(requests: list[EditRequest]) -> None:
    assert len(requests) >= 1000
    assert len({request.relation for request in requests}) >= 15
    assert len({request.relation for request in requests[:100]}) >= 15


def test_each_table_is_a_relation_and_names_each_subject_once() -> None:
    assert {file.stem for file in (REAL / "tables").glob("*.txt")} == {r.id for r in RELATIONS}
    for relation in RELATIONS:
        subjects = Counter(subject for subject, _ in table(relation))
        assert max(subjects.values()) == 1, relation.id
        assert all(name == name.strip() != "" for row in table(relation) for name in row)


def test_every_fact_is_sound_and_is_edited_to_a_false_object(requests: list[EditRequest]) -> None:
    true = {(r.id, subject): of for r in RELATIONS for subject, of in table(r)}
    false = {(r.id, of): false_objects(r, of) for r in RELATIONS for _, of in table(r)}
    for request in requests:
        assert not request.flaw
        assert request.target_true == true[request.relation, request.subject]
        assert request.target_new in false[request.relation, request.target_true]
        assert request.target_new != request.target_true


def test_the_subject_is_once_in_the_prompt_and_in_both_paraphrases(
    requests: list[EditRequest],
) -> None:
    for request in requests:
        assert len(request.paraphrases) == 2
        texts = [request.text, *request.paraphrases]
        assert len(set(texts)) == 3
        assert all(text.count(request.subject) == 1 for text in texts), request


def test_five_neighbours_have_the_relation_and_neither_the_subject_nor_the_new_object(
    requests: list[EditRequest],
) -> None:
    for request in requests:
        assert len({probe.prompt for probe in request.neighbours}) == 5
        for probe in request.neighbours:
            assert request.subject not in probe.prompt
            assert probe.target != request.target_new


def test_neighbours_share_the_true_object_as_far_as_there_are_any(
    requests: list[EditRequest],
) -> None:
    facts = {(r.id, subject): of for r in RELATIONS for subject, of in table(r)}
    for request in requests:
        sharing = [
            subject
            for (relation, subject), of in facts.items()
            if relation == request.relation
            and of == request.target_true
            and subject not in request.subject
            and request.subject not in subject
        ]
        shared = [probe for probe in request.neighbours if probe.target == request.target_true]
        assert len(shared) == min(5, len(sharing))


def test_the_object_of_a_neighbour_is_the_true_one_of_its_own_subject(
    requests: list[EditRequest],
) -> None:
    for request in requests:
        relation = next(r for r in RELATIONS if r.id == request.relation)
        true = dict(table(relation))
        frame = re.escape(request.prompt).replace(re.escape("{}"), "(.+)")
        for probe in request.neighbours:
            match = re.fullmatch(f"(?:As many people know, )?{frame}", probe.prompt)
            assert match and true[match[1]] == probe.target


def test_many_prompts_open_with_the_subject_and_many_do_not(requests: list[EditRequest]) -> None:
    opening = sum(request.subject_start == 0 for request in requests)
    assert 0.3 < opening / len(requests) < 0.8
    assert all(r.subject[0].isupper() for r in requests if r.subject_start == 0)


def test_perplexity_texts_are_of_five_kinds_and_of_sixty_to_150_words() -> None:
    kinds = Counter(item["Corpus"] for item in json.loads((REAL / "perplexity.json").read_text()))
    assert set(kinds) == {"encyclopaedic", "narrative", "dialogue", "instructions", "code"}
    assert min(kinds.values()) >= 20
    texts = read_texts(REAL / "perplexity.json")
    assert len(set(texts)) == len(texts) >= 100
    assert all(60 <= len(text.split()) <= 150 for text in texts)


@pytest.mark.parametrize("name", ["questions", "choices", "cloze", "passages", "grammar"])
def test_a_task_has_200_different_items(name: str) -> None:
    assert len({json.dumps(item) for item in lines(name)}) == len(lines(name)) == 200


def test_questions_are_answered_by_the_tables_and_asked_once(requests: list[EditRequest]) -> None:
    facts = {request.case_id: request for request in requests}
    asked, chosen = lines("questions"), lines("choices")
    for item in asked:
        assert facts[item["case_id"]].subject in item["question"]
        assert facts[item["case_id"]].target_true == item["answer"]
    for item in chosen:
        fact = facts[item["case_id"]]
        relation = next(r for r in RELATIONS if r.id == fact.relation)
        wrong = {choice for i, choice in enumerate(item["choices"]) if i != item["answer"]}
        assert item["choices"][item["answer"]] == fact.target_true
        assert len(wrong) == 3 and wrong <= {*false_objects(relation, fact.target_true)}
    assert len({item["case_id"] for item in asked + chosen}) == 400


def test_passages_and_stories_hold_what_is_asked() -> None:
    assert all(item["answer"] in item["passage"] for item in lines("passages"))
    assert all(item["word"] in item["context"] for item in lines("cloze"))


def test_passages_hold_nothing_left_to_fill() -> None:
    written = json.dumps([lines("passages"), lines("cloze"), lines("grammar")])
    assert not re.search(r"\{\w*\}", written)


def test_minimal_pairs_differ_in_few_words_and_their_good_one_is_as_often_first() -> None:
    items = lines("grammar")
    assert Counter(item["phenomenon"] for item in items) == {p.__name__: 20 for p in PHENOMENA}
    for item in items:
        good, bad = (choice.split() for choice in item["choices"])
        assert good != bad and len(set(good) ^ set(bad)) <= 3
    assert 70 < sum(item["answer"] for item in items) < 130


def test_lm_eval_scores_a_random_model_on_all_five_tasks(tmp_path: Path) -> None:
    suite = Suite.load(TASKS, 3)
    model = load_model("tiny", str(save_tiny_model("llama", tmp_path)))
    scores = {score.task: score for score in suite.scores(EditedLM(model))}
    assert scores.keys() == {*TASKS}
    assert {score.status for score in scores.values()} == {"ok"}
    assert {score.n_items for score in scores.values()} == {3}
    assert {name: score.metric for name, score in scores.items()} == {
        "real_questions": "exact_match",
        "real_choices": "acc",
        "real_cloze": "acc",
        "real_passages": "f1",
        "real_grammar": "acc",
    }
    assert scores["real_choices"].random == 0.25
    assert scores["real_grammar"].random == 0.5
