"""Generated hard cases have the published pattern, and the shipped sets match their records."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from transformers.convert_slow_tokenizer import bytes_to_unicode

from editcore.cli import main
from editcore.datasets.readers import read_requests
from editcore.errors import DataError, EditcoreError
from editcore.models.loading import load_tokenizer
from editcore.runs.adhoc.hard_case_filter import collapsing
from editcore.runs.adhoc.hard_case_generator import (
    generate,
    opens_as_one_token,
    read_relations,
    read_vocabulary,
)
from resources.generator.relations import RELATIONS

ROOT = Path(__file__).resolve().parents[2]
HARD = ROOT / "resources" / "hard"
MERGES = ROOT.parent / "shared" / "data" / "gpt2" / "merges.txt"
SETS = {"world": ("world-words", "world-relations"), "gpt2": ("words", "relations")}
needs_merges = pytest.mark.skipif(not MERGES.exists(), reason="GPT-2's merges are not here")


def cases(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    words = read_vocabulary(HARD / "world-words.json")
    relations = read_relations(HARD / "world-relations.json")
    return generate(words, relations, load_tokenizer("tiny-gpt2"), count, seed)


def test_cases_depend_on_the_seed() -> None:
    assert cases() == cases()
    assert cases() != cases(seed=1)
    assert cases(30) == cases(60)[:30]


def test_the_pattern_one_common_token_opens_the_prompt() -> None:
    tokenizer = load_tokenizer("tiny-gpt2")
    made = cases()
    for rewrite in (record["requested_rewrite"] for record in made):
        assert rewrite["prompt"].startswith("{}")
        ids = tokenizer(rewrite["prompt"].format(rewrite["subject"]))["input_ids"]
        assert tokenizer.decode(ids[:1]) == rewrite["subject"]
        assert rewrite["target_new"]["str"] != rewrite["target_true"]["str"]
    pairs = [(r["requested_rewrite"]["subject"], r["requested_rewrite"]["prompt"]) for r in made]
    assert len(set(pairs)) == len(pairs)


def test_relations_take_turns_and_words_do_too() -> None:
    made = [record["requested_rewrite"] for record in cases(50)]
    assert len({rewrite["subject"] for rewrite in made}) == 50
    assert len({rewrite["relation_id"] for rewrite in made}) == len(RELATIONS)


def test_a_word_of_several_tokens_is_left_out() -> None:
    tokenizer = load_tokenizer("tiny-gpt2")
    assert opens_as_one_token(tokenizer, "{} is made by", "Coral")
    assert not opens_as_one_token(tokenizer, "{} is made by", "Extraordinary")
    assert not opens_as_one_token(tokenizer, "{}al is made by", "Cor")


def test_more_cases_than_there_are_pairs_is_an_error() -> None:
    with pytest.raises(DataError, match=r"give \d+; ask for fewer"):
        cases(100_000)


def test_the_command_writes_counterfact_and_records_how(tmp_path: Path) -> None:
    out = tmp_path / "cases.json"
    words, relations = (str(HARD / f"{name}.json") for name in SETS["world"])
    command = ["harden", "--tokenizer", "tiny-gpt2", "--words", words, "--relations", relations]
    done = CliRunner().invoke(main, [*command, "--count", "12", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert [request.flaw for request in read_requests(out, "counterfact")] == [""] * 12
    record = json.loads(out.with_suffix(".provenance.json").read_text())
    assert (record["kept"], record["tokenizer"]) == (12, "tiny-gpt2")
    assert record["filter"].startswith("none")
    half = CliRunner().invoke(
        main, [*command, "--count", "2", "--out", str(out), "--filter-model", "tiny-gpt2"]
    )
    assert half.exit_code == 2
    assert "go together" in half.output


def test_the_filter_keeps_what_collapses_the_model(tmp_path: Path) -> None:
    from editcore.config.study import parse

    facts = json.loads((ROOT / "resources/world/facts.json").read_text())
    by_subject = {f["requested_rewrite"]["subject"]: f for f in facts}
    some = [by_subject[name] for name in list(by_subject)[:4]]
    (tmp_path / "c.json").write_text(json.dumps(some))
    short = {"layer": 2, "steps": 2, "second_moment": False}
    base = {
        "models": {"tiny-gpt2": {}},
        "editors": {"rome": {"options": short}},
        "datasets": {"unused": {"path": str(tmp_path / "none.json")}},
        "perplexity": {"texts": 3},
        "prefixes": {"lengths": [[3, 2]]},
    }
    kept = {
        ratio: collapsing(
            parse(base | {"collapse": {"ratio": ratio}}, "s"),
            "s", "tiny-gpt2", "rome", tmp_path / "c.json", tmp_path / str(ratio), print,
        )
        for ratio in (1e-9, 1e9)
    }  # fmt: skip
    assert kept == {1e-9: sorted(f["case_id"] for f in some), 1e9: []}


def test_an_editor_that_must_be_trained_can_be_the_filter(tmp_path: Path) -> None:
    from editcore.config.study import parse

    facts = json.loads((ROOT / "resources/world/facts.json").read_text())[:12]
    (tmp_path / "c.json").write_text(json.dumps(facts[:3]))
    (tmp_path / "train.json").write_text(json.dumps(facts[4:]))
    data = {"data": str(tmp_path / "train.json"), "exclude": [], "batch": 2, "rank": 4}
    study = {
        "models": {"tiny-gpt2": {}},
        "editors": {"mend": {"options": {"layers": [2], "steps": 4, "validate_every": 2, **data}}},
        "datasets": {"unused": {"path": str(tmp_path / "none.json")}},
        "perplexity": {"texts": 3},
        "collapse": {"ratio": 1e-9},
    }
    steps: list[str] = []
    for _ in range(2):
        args = (parse(study, "s"), "s", "tiny-gpt2", "mend", tmp_path / "c.json", tmp_path / "w")
        assert collapsing(*args, steps.append) == sorted(f["case_id"] for f in facts[:3])
    assert sum(step.startswith("train mend") for step in steps) == 1, "the second run reuses it"


@pytest.mark.parametrize("name", SETS)
def test_the_shipped_sets_record_how_they_were_made(name: str) -> None:
    import hashlib

    record = json.loads((HARD / f"{name}.provenance.json").read_text())
    shipped = read_requests(HARD / f"{name}.json", "counterfact")
    assert len(shipped) == record["kept"] >= {"world": 100, "gpt2": 400}[name]
    for kind, file in zip(("words", "relations"), SETS[name], strict=True):
        content = (HARD / f"{file}.json").read_bytes()
        assert record[kind] == {
            "file": f"{file}.json",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    assert len({request.relation for request in shipped}) >= {"world": 10, "gpt2": 20}[name]


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    """The folder of GPT-2's tokenizer as published; its vocabulary follows from its merges."""
    lines = MERGES.read_text(encoding="utf-8").splitlines()
    pairs = [line.replace(" ", "") for line in lines if line and not line.startswith("#version")]
    words = [*bytes_to_unicode().values(), *pairs, "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tmp_path / "merges.txt").write_bytes(MERGES.read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    return tmp_path


@needs_merges
def test_the_set_for_gpt2_is_made_again_by_its_recipe(gpt2: Path) -> None:
    tokenizer = load_tokenizer(str(gpt2))
    made = generate(
        read_vocabulary(HARD / "words.json"),
        read_relations(HARD / "relations.json"),
        tokenizer,
        460,
        0,
    )
    assert json.loads((HARD / "gpt2.json").read_text()) == made
    for request in read_requests(HARD / "gpt2.json", "counterfact"):
        assert tokenizer.decode(tokenizer(request.text)["input_ids"][:1]) == request.subject


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer can be loaded from"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[" * 100_000, b"[]", b'{"words": {"a": 1}}', b'{"relations": [3]}']
)
def test_words_and_relations_of_another_shape_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(content)
    for read in (read_vocabulary, read_relations):
        with pytest.raises(EditcoreError, match=r"given\.json"):
            read(path)


def test_the_world_s_set_contains_new_words() -> None:
    known = {r.subject for r in read_requests(ROOT / "resources/world/hard.json", "counterfact")}
    new = {r.subject for r in read_requests(HARD / "world.json", "counterfact")}
    assert not known & new
    assert len(new) >= 20


def test_the_world_s_relations_are_the_generator_s() -> None:
    shipped = {relation.id: relation for relation in read_relations(HARD / "world-relations.json")}
    for relation in RELATIONS:
        assert shipped[relation.id].template == relation.templates[0]
        assert shipped[relation.id].objects == relation.objects


def test_the_released_set_s_fields_are_read(tmp_path: Path) -> None:
    """HardEdit's records as its authors describe them: four fields, the subject in the prompt."""
    sample = {
        "prompt": "Thunder's occupation is",
        "target_new": "architect",
        "subject": "Thunder",
        "ground_truth": "actor",
    }
    (tmp_path / "HardEdit.json").write_text(json.dumps([sample, {**sample, "target_new": "cook"}]))
    one, two = read_requests(tmp_path / "HardEdit.json", "auto")
    assert (one.prompt, one.subject_start, one.flaw) == ("{}'s occupation is", 0, "")
    assert (one.target_new, one.target_true) == ("architect", "actor")
    assert (one.case_id, two.case_id) == (0, 1)
