"""The bundled world: its records, its held-out texts, and the two models trained on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from resources.generator.architectures import DECODERS
from resources.generator.card import card
from resources.generator.corpus import Corpus
from resources.generator.crossentropy import SlicedCrossEntropy
from resources.generator.facts import draw_facts
from resources.generator.heldout import hold_out
from resources.generator.relations import RELATIONS
from resources.generator.world import write_world

WORLD = Path(__file__).parents[2] / "resources" / "world"
MODELS = [WORLD.with_name("models") / name for name in DECODERS]


def load(name: str) -> Any:
    return json.loads((WORLD / name).read_text(encoding="utf-8"))


def rewrites(name: str) -> Iterator[dict[str, Any]]:
    for record in load(name):
        yield record["requested_rewrite"]


def lines(name: str) -> list[dict[str, Any]]:
    text = (WORLD / "tasks" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_there_are_enough_cases() -> None:
    assert len(load("facts.json")) >= 2000
    assert len(load("hard.json")) >= 100
    assert len(load("normal.json")) >= 300
    assert len({r["relation_id"] for r in rewrites("facts.json")}) >= 8


def test_records_have_the_original_format() -> None:
    for record in load("facts.json"):
        rewrite = record["requested_rewrite"]
        assert rewrite["prompt"].count("{}") == 1
        assert rewrite["target_new"]["str"] != rewrite["target_true"]["str"]
        assert len(record["paraphrase_prompts"]) == 2
        assert all(rewrite["subject"] in prompt for prompt in record["paraphrase_prompts"])
        assert len(set(record["neighborhood_prompts"])) >= 5


def test_neighbours_share_relation_and_true_object() -> None:
    prompts = {
        (template.format(fact.subject), fact.object)
        for fact in draw_facts(1)
        for template in fact.relation.templates
    }
    for record in load("facts.json"):
        true = record["requested_rewrite"]["target_true"]["str"]
        assert all((prompt, true) in prompts for prompt in record["neighborhood_prompts"])


def test_case_sets_are_disjoint_parts_of_the_facts() -> None:
    facts = {record["case_id"]: record for record in load("facts.json")}
    hard, normal = load("hard.json"), load("normal.json")
    assert all(facts[record["case_id"]] == record for record in hard + normal)
    assert not {r["case_id"] for r in hard} & {r["case_id"] for r in normal}


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_only_hard_cases_open_with_a_one_token_subject(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def opens(rewrite: dict[str, Any]) -> bool:
        one_token = len(tokenizer(rewrite["subject"])["input_ids"]) == 1
        return one_token and rewrite["prompt"].startswith("{}")

    assert all(opens(rewrite) for rewrite in rewrites("hard.json"))
    assert all(
        len(tokenizer(f" {rewrite['subject']}")["input_ids"]) == 1
        for rewrite in rewrites("hard.json")
    )
    assert not any(opens(rewrite) for rewrite in rewrites("normal.json"))


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_perplexity_texts_are_short(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [text["Text"] for text in load("perplexity.json")]
    assert len(set(texts)) >= 500
    assert all(18 <= len(tokenizer(text)["input_ids"]) <= 48 for text in texts)


def test_nothing_held_out_is_in_the_training_text() -> None:
    facts = draw_facts(1)
    held = hold_out(facts, 1)
    assert held.perplexity == [text["Text"] for text in load("perplexity.json")]
    text = "\n".join(islice(Corpus(facts, held, 1).documents(), 15_000))
    assert not any(held_out in text for held_out in [*held.perplexity, *held.cloze])
    assert not any(passage.text in text for passage in held.passages)
    assert not any(f"Question: {q['question']}\n" in text for q in held.questions)


def test_a_held_out_text_would_be_dropped() -> None:
    facts = draw_facts(1)
    held = hold_out(facts, 1)
    corpus = Corpus(facts, held, 1)
    assert corpus.repeats([*held.perplexity[0].split(". "), "More follows."]) is False
    assert corpus.repeats([held.perplexity[0], "More follows."])


def test_the_shipped_world_is_what_the_generator_writes(tmp_path: Path) -> None:
    write_world(tmp_path, seed=1)
    written = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(written) == 10
    assert all((tmp_path / p).read_bytes() == (WORLD / p).read_bytes() for p in written)


def test_another_seed_gives_another_world() -> None:
    assert [f.object for f in draw_facts(1)] != [f.object for f in draw_facts(2)]


def test_task_items_have_their_answer() -> None:
    assert all(item["answer"] in item["passage"] for item in lines("passages.jsonl"))
    assert all(item["word"] in item["context"] for item in lines("cloze.jsonl"))
    choices = lines("fact_choices.jsonl") + lines("continuations.jsonl")
    assert all(len(set(item["choices"])) == 4 for item in choices)
    true = {fact.case_id: fact.object for fact in draw_facts(1)}
    assert all(
        item["choices"][item["answer"]] == true[item["case_id"]]
        for item in lines("fact_choices.jsonl")
    )
    assert all(item["answer"] == true[item["case_id"]] for item in lines("questions.jsonl"))


def test_every_relation_has_a_template_with_the_subject_later() -> None:
    for relation in RELATIONS:
        assert relation.templates[0].startswith("{}")
        assert not any(template.startswith("{}") for template in relation.templates[1:])


def test_both_models_are_shipped() -> None:
    assert DECODERS == ("tiny-gpt2", "tiny-llama")
    assert all((folder / "model.safetensors").is_file() for folder in MODELS)


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_model_is_small_and_knows_its_world(folder: Path) -> None:
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 20_000_000
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert (folder / "README.md").read_text(encoding="utf-8") == card(folder)
    fact = next(f for f in draw_facts(1) if f.relation.id == "born_in")
    ids = tokenizer(f"It was cold. {fact.subject} was born in", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        best = model(ids).logits[0, -1].argmax()
    assert tokenizer.decode(best) == f" {fact.object}"


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_scores_meet_the_bars(folder: Path) -> None:
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert scores["recall_prefixed"] >= 0.95
    assert scores["recall_bare"] >= 0.80
    assert scores["perplexity"] <= 20


def test_sliced_cross_entropy_equals_the_plain_one() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(700, 8).requires_grad_()
    weight = torch.randn(11, 8).requires_grad_()
    target = torch.randint(11, (700,))
    loss = SlicedCrossEntropy.apply(hidden, weight, target)
    sliced = torch.autograd.grad(loss, (hidden, weight))
    plain_loss = torch.nn.functional.cross_entropy(hidden @ weight.T, target)
    plain = torch.autograd.grad(plain_loss, (hidden, weight))
    assert loss.item() == pytest.approx(plain_loss.item(), rel=1e-2)
    for ours, theirs in zip(sliced, plain, strict=True):
        assert torch.nn.functional.cosine_similarity(ours, theirs, dim=1).min() > 0.999
