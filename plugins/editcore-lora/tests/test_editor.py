"""LoRA compared with peft's own merged weights, its targets and stops, and what stays unchanged."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from editcore_lora.adapters import target_paths
from editcore_lora.config import LoraEditConfig
from editcore_lora.editor import LoraEditor
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError

from editcore import EditContext, EditRequest, ModelError, RequestError
from editcore.testing import KINDS, KINDS_BY_TRAIT, EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import (
    LoadedModel,
    LowRankUpdate,
    Question,
    ask,
    ask_edited,
    stores_transposed,
    tokenize_questions,
    wrap_model,
)

REQUESTS = [*tiny_requests(), EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")]


class TestConformance(EditorConformance):
    editor = "lora"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"steps": 3, "rank": 2, "layers": [0, 1, 2]}


class TestConformanceOfTheDownProjection(EditorConformance):
    editor = "lora"
    kinds = ("llama",)
    options: ClassVar[dict[str, Any]] = {"steps": 3, "layers": [1], "targets": ["down_proj"]}


class TestConformanceOfATransposedMap(EditorConformance):
    editor = "lora"
    kinds = ("gpt2",)
    options: ClassVar[dict[str, Any]] = {"steps": 3, "layers": [1], "targets": ["mlp.c_proj"]}


def tiny(kind: str) -> LoadedModel:
    """In float64, since Adam turns the rounding of a gradient near zero into a whole step."""
    model, tokenizer = tiny_model(kind)
    return wrap_model(kind, model.double(), tokenizer)


def textbook_loss(model: Any, tokenizer: Any, request: EditRequest) -> torch.Tensor:
    """The mean NLL of the target, in a pass of its own."""
    prompt = tokenizer(request.text)["input_ids"]
    target = tokenizer(f" {request.target_new}", add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.tensor([[*prompt, *target[:-1]]])).logits
    return torch.nn.functional.cross_entropy(logits[0, len(prompt) - 1 :], torch.tensor(target))


def merged_by_peft(
    model: LoadedModel, requests: list[EditRequest], config: LoraEditConfig, seed: int, names: Any
) -> Mapping[str, torch.Tensor]:
    """The weights of a copy that peft has adapted, trained in a plain loop, and merged."""
    options = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=names,
        fan_in_fan_out=names == ["c_attn"],
    )
    torch.manual_seed(seed)
    adapted = get_peft_model(copy.deepcopy(model.model), options).eval()
    for name, module in adapted.named_modules():
        if "lora_dropout" in name:
            module.train()
    adam = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(config.steps):
        losses = [textbook_loss(adapted, model.tokenizer, request) for request in requests]
        adam.zero_grad()
        torch.stack(losses).mean().backward()
        adam.step()
    merged: Mapping[str, torch.Tensor] = adapted.merge_and_unload().state_dict()
    return merged


FAMILIES = [
    ("gpt2", ["c_attn"]),
    ("gpt-neox", ["query_key_value"]),
    ("phi3", ["qkv_proj"]),
    ("gptj", ["q_proj", "v_proj"]),
    ("llama", ["q_proj", "v_proj"]),
]


@pytest.mark.parametrize(("dropout", "facts"), [(0.0, REQUESTS), (0.1, REQUESTS[:1])])
@pytest.mark.parametrize(("kind", "names"), FAMILIES)
def test_the_edited_weights_are_those_that_peft_merges(
    kind: str, names: list[str], dropout: float, facts: list[EditRequest]
) -> None:
    """With dropout, for one fact: what is dropped depends on the padding of a batch."""
    model = tiny(kind)
    config = LoraEditConfig(steps=4, dropout=dropout, stop_loss=0)
    with torch.random.fork_rng(devices=[]):
        expected = merged_by_peft(model, facts, config, 7, names)
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    delta = LoraEditor(config).edit(EditContext(model, seed=7), facts).delta
    assert delta is not None and delta.norm() > 0
    with delta.applied(model.model):
        for name, weight in model.model.state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-9)
            assert torch.equal(weight, before[name]) == (name not in delta.updates), name


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_attention_changes_in_every_block(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    paths = target_paths(model, LoraEditConfig())
    assert {model.parts.block_of(path) for path in paths} == set(range(model.parts.depth))
    assert all("att" in path for path in paths)


def test_all_blocks_are_those_named_one_by_one() -> None:
    context = EditContext(tiny("llama"))
    named = LoraEditor(LoraEditConfig(steps=2, layers=(2, 0, 1))).edit(context, REQUESTS).delta
    every = LoraEditor(LoraEditConfig(steps=2)).edit(context, REQUESTS).delta
    assert named is not None and every is not None
    assert named.updates.keys() == every.updates.keys()
    for name, update in every.updates.items():
        assert torch.equal(named.updates[name].dense(), update.dense())


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_change_has_the_rank_of_the_options(kind: str) -> None:
    model = tiny(kind)
    config = LoraEditConfig(steps=2, rank=3)
    delta = LoraEditor(config).edit(EditContext(model), REQUESTS).delta
    assert delta is not None
    for name, update in delta.updates.items():
        assert isinstance(update, LowRankUpdate)
        assert update.inputs.shape[1] == 3
        stored = model.model.get_parameter(name).shape
        assert update.shape == tuple(
            reversed(stored) if stores_transposed(model.model, name) else stored
        )


@pytest.mark.parametrize("kind", ["gpt2", "gpt-neox", "llama"])
def test_targets_become_likely_also_in_an_overlay(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    result = LoraEditor(LoraEditConfig()).edit(EditContext(model), REQUESTS)
    assert result.delta is not None
    questions = [Question(r.text, r.target_new) for r in REQUESTS]
    tokenized = tokenize_questions(model, questions)
    with result.delta.applied(model.model):
        weights = ask(model, tokenized)
    ((_, overlaid),) = ask_edited(model, [tokenized], [result.delta])
    for question in questions:
        assert weights[question].accuracy == 1
        assert overlaid[question].log_probability == pytest.approx(
            weights[question].log_probability, abs=1e-3
        )


def test_training_ends_below_the_loss_asked_for() -> None:
    result = LoraEditor(LoraEditConfig(stop_loss=3.0)).edit(EditContext(tiny("llama")), REQUESTS)
    assert result.diagnostics["loss"] < 3
    assert 0 < result.diagnostics["steps"] < 70


def test_small_batches_train_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = LoraEditor(LoraEditConfig(steps=3, dropout=0))
    context = EditContext(tiny("llama"))
    whole = editor.edit(context, REQUESTS).delta
    monkeypatch.setattr("editcore_lora.tuning.tokens_per_search", lambda *_: 1)
    parts = editor.edit(context, REQUESTS).delta
    assert whole is not None and parts is not None
    for name, update in whole.updates.items():
        torch.testing.assert_close(
            parts.updates[name].dense(), update.dense(), rtol=1e-6, atol=1e-9
        )


def test_dropout_leaves_the_generator_of_torch_as_it_was() -> None:
    context, before = EditContext(tiny("llama")), torch.get_rng_state()
    LoraEditor(LoraEditConfig(steps=2)).edit(context, REQUESTS)
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_remain_the_models_own_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny("gpt2")
    modules = dict(model.model.named_modules())

    def interrupt(*_: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("editcore_lora.tuning._backward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LoraEditor(LoraEditConfig()).edit(EditContext(model), REQUESTS)
    assert dict(model.model.named_modules()) == modules
    assert not any(p.requires_grad for p in model.model.parameters())
    assert not hasattr(model.model, "peft_config")


def test_a_target_that_no_block_has_is_refused() -> None:
    editor = LoraEditor(LoraEditConfig(targets=("down_proj", "w_pack")))
    with pytest.raises(ModelError, match=r"no linear map 'w_pack'; choose .*q_proj"):
        editor.edit(EditContext(tiny("llama")), REQUESTS)


@pytest.mark.parametrize("options", [{"layers": []}, {"layers": [1, 1]}, {"targets": ["a", "a"]}])
def test_lists_name_something_and_nothing_twice(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="none twice"):
        LoraEditConfig.model_validate(options)


def test_a_rank_wider_than_any_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 100000"):
        LoraEditConfig(layers=(1,), rank=2**63)


def test_nothing_to_edit_is_refused() -> None:
    with pytest.raises(RequestError, match="nothing to edit"):
        LoraEditor(LoraEditConfig()).edit(EditContext(tiny("llama")), [])


def test_a_model_with_nans_gives_a_failed_result() -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    result = LoraEditor(LoraEditConfig()).edit(EditContext(model), REQUESTS)
    assert result.delta is None
    assert "non-finite" in result.status
