"""The tests' small models have the properties that other tests rely on."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from editcore.testing.models import KINDS, LAYERS, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_saved_model_gives_the_same_logits(kind: str, saved_model) -> None:
    model, tokenizer = tiny_model(kind)
    folder = saved_model(kind)
    ids = tokenizer("Coral is made by", return_tensors="pt").input_ids
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    again = AutoTokenizer.from_pretrained(folder)("Coral is made by", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids).logits
        assert torch.equal(loaded(again).logits, logits)
    assert model.config.num_hidden_layers == LAYERS
    assert logits.std() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_no_parameter_is_constant(kind: str) -> None:
    model, _ = tiny_model(kind)
    assert all(p.std() > 0.01 for p in model.parameters())


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (tiny_model("gpt2", seed=s)[0] for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [m.state_dict()["transformer.h.1.mlp.c_proj.weight"] for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("text", ["Coral", " Coral", "Harbor", " Harbor"])
def test_hard_subjects_are_one_token(text: str) -> None:
    assert len(tiny_tokenizer()(text).input_ids) == 1


def test_any_text_survives_the_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    text = "Zürich, 東京 & Coral!"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_bos_comes_first_only_if_asked_for() -> None:
    plain, started = tiny_tokenizer(), tiny_tokenizer(bos=True)
    ids = plain("Coral is").input_ids
    assert started("Coral is").input_ids == [started.bos_token_id, *ids]
