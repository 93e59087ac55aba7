"""Prefixes depend only on the seed, and a case is tested after the same ones in any shard."""

import json
import random
from pathlib import Path

import pytest
import torch

from editcore.errors import ConfigError, DataError, ModelError
from editcore.keyvalue import prefixes
from editcore.keyvalue.prefixes import TEST_PREFIXES, ContextPrefixes
from editcore.models.loading import wrap_model
from editcore.testing.models import tiny_model

LENGTHS, SEEDS = [(5, 4), (8, 3)], ["The", "Therefore", "I"]


def test_the_seed_decides_and_the_shape_is_as_asked() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    first, again = (prefixes.sample_prefixes(model, LENGTHS, SEEDS, 1) for _ in range(2))
    other = prefixes.sample_prefixes(model, LENGTHS, SEEDS, 2)
    assert first == again
    assert first.hash == again.hash != other.hash
    assert len(first.templates) == 1 + 4 + 3
    assert first.groups == (4, 3)
    assert first.templates[0] == "{}"
    for template, word in zip(first.templates[1:5], ["The", "Therefore", "I", "The"], strict=True):
        assert template.startswith(word)
    assert all(t.count("{}") == 1 and t.endswith("{}") for t in first.templates)


def test_the_test_prefixes_depend_on_seed_and_case_only() -> None:
    made = ContextPrefixes(("{}", *(f"{i}. {{}}" for i in range(20))), "m", 0)
    drawn = [made.for_tests(0, case) for case in range(200)]
    assert drawn == [made.for_tests(0, case) for case in range(200)]
    assert all(len(set(each)) == TEST_PREFIXES == 5 for each in drawn)
    assert {template for each in drawn for template in each} == {*made.templates[1:]}
    assert len({first for first, *_ in drawn}) > 10
    assert drawn != [made.for_tests(1, case) for case in range(200)]


def test_the_first_test_prefix_is_the_one_of_earlier_versions() -> None:
    """Columns that are measured after one prefix stay comparable."""
    templates = ("{}", *(f"{i}. {{}}" for i in range(20)))
    for case in range(50):
        alone = random.Random(f"3:{case}").choice(templates[1:])
        assert ContextPrefixes(templates, "m", 0).for_tests(3, case)[0] == alone


def test_no_test_prefix_is_drawn_twice_and_there_may_be_fewer() -> None:
    for templates, number in (
        (("{}", "I. {}", "You. {}"), 2),
        (("{}", "I. {}", "I. {}", "You. {}"), 2),
        (("{}", "I. {}"), 1),
    ):
        drawn = ContextPrefixes(templates, "m", 0).for_tests(0, 7)
        assert sorted(drawn) == sorted({*templates[1:]})
        assert len(drawn) == number
    assert ContextPrefixes(("{}",), "m", 0).for_tests(0, 7) == ("{}",)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    made = ContextPrefixes(("{}", "I. {}", "You said. {}"), "m", 3, (1, 1))
    prefixes.save(made, tmp_path / "p.json")
    assert prefixes.load(tmp_path / "p.json") == made
    (tmp_path / "p.json").write_text("[]")
    with pytest.raises(DataError, match=r"p\.json"):
        prefixes.load(tmp_path / "p.json")


def test_templates_are_one_group_by_default() -> None:
    assert ContextPrefixes(("{}", "I. {}", "You. {}"), "m", 0).groups == (2,)
    assert ContextPrefixes(("{}",), "m", 0).groups == ()
    with pytest.raises(ValueError, match="2 templates"):
        ContextPrefixes(("{}", "I. {}", "You. {}"), "m", 0, (1, 2))


def test_a_model_whose_logits_overflow_is_one_plain_error() -> None:
    model, tokenizer = tiny_model("gpt2")
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(1e38)
    loaded = wrap_model("broken", model, tokenizer)
    wrong = "'broken' gives probabilities that are not finite after 'The'"
    with pytest.raises(ModelError, match=wrong):
        prefixes.sample_prefixes(loaded, [(5, 1)], ["The"], 0)


def test_prefixes_longer_than_the_model_reads_are_refused() -> None:
    loaded = wrap_model("tiny", *tiny_model("gpt2"))
    with pytest.raises(ConfigError, match=r"prefixes of 300 tokens .*reads at most 256"):
        prefixes.sample_prefixes(loaded, [(5, 1), (300, 1)], ["The"], 0)


def test_templates_that_somebody_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    prefixes.save(ContextPrefixes(("{}", "It rains. {}"), "m", 0), path)
    written = path.read_text()
    path.write_text(written.replace("rains", "snows"))
    with pytest.raises(DataError, match=r"p\.json has changed.*`editcore prefixes`"):
        prefixes.load(path)
    record = json.loads(written)
    del record["digest"]
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"p\.json has no digest.*`editcore prefixes`"):
        prefixes.load(path)


def test_the_bare_prompt_is_a_group_of_its_own() -> None:
    prefixes = ContextPrefixes(("{}", *(f"{i}. {{}}" for i in range(6))), "m", 0, (2, 4))
    last = prefixes.weighted(3)
    assert last.templates == ("{}", "3. {}", "4. {}", "5. {}")
    assert last.weights == pytest.approx((1 / 2, 1 / 6, 1 / 6, 1 / 6))
    both = prefixes.weighted(5)
    assert both.weights == pytest.approx((1 / 3, 1 / 3, *[1 / 12] * 4))
    assert ContextPrefixes(("{}",), "m", 0).weighted(5).weights == (1.0,)


def test_a_search_uses_all_templates_the_last_sampled_ones_or_the_bare_prompt() -> None:
    given = ContextPrefixes(("{}", "A. {}", "B. {}"), "m", 0)
    assert given.last(None) == given.last(2) == given.last(9) == given.templates
    assert given.last(1) == ("{}", "B. {}")
    assert given.last(0) == ("{}",)
