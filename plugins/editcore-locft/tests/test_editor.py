"""LocFT-BF compared with a plain loop over the weights, its stops, and what stays unchanged."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from editcore_locft import tuning
from editcore_locft.config import LocftConfig
from editcore_locft.editor import LocftEditor, shuffled

from editcore import EditContext, EditRequest, RequestError
from editcore.testing import (
    KINDS_BY_TRAIT,
    KINDS_IN_FLOAT64,
    EditorConformance,
    tiny_model,
    tiny_requests,
)
from editcore.toolkit import LoadedModel, stores_transposed, wrap_model

LAYER = 1
LONG = EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")
REQUESTS = [*tiny_requests(), LONG]


class TestConformance(EditorConformance):
    editor = "locft"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layer": 1, "epochs": 3}


class TestConformanceOfBlocks(EditorConformance):
    editor = "locft"
    kinds = ("gpt2", "llama")
    options: ClassVar[dict[str, Any]] = {"layer": 0, "epochs": 2, "tuned": "block"}


def tiny(kind: str) -> LoadedModel:
    """In float64: Adam turns the rounding of a gradient near zero into a whole step."""
    model, tokenizer = tiny_model(kind)
    return wrap_model(kind, model.double(), tokenizer)


def textbook_loss(model: LoadedModel, request: EditRequest) -> torch.Tensor:
    """The mean NLL of the target and the end of the text, in a pass of its own."""
    tokenizer = model.tokenizer
    prompt = tokenizer(request.text)["input_ids"]
    target = tokenizer(f" {request.target_new}", add_special_tokens=False)["input_ids"]
    target = [*target, tokenizer.eos_token_id]
    logits = model.model(torch.tensor([[*prompt, *target[:-1]]])).logits[0, len(prompt) - 1 :]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(target))


def textbook(
    model: LoadedModel, requests: Sequence[EditRequest], config: LocftConfig, seed: int
) -> dict[str, torch.Tensor]:
    """Train the weights themselves, in whole passes, one row at a time, and restore them."""
    weight = model.parts.down_weight(config.layer)
    prefix = weight if config.tuned == "down" else model.anatomy.path(config.layer, "")
    trained = {n: p for n, p in model.model.named_parameters() if n.startswith(prefix)}
    before = {n: p.detach().clone() for n, p in trained.items()}
    adam = torch.optim.Adam([p.requires_grad_() for p in trained.values()], config.learning_rate)
    orders = shuffled(len(requests), seed)
    for _ in range(config.epochs):
        order = next(orders)
        for start in range(0, len(order), config.batch_size):
            batch = [requests[i] for i in order[start : start + config.batch_size]]
            loss = torch.stack([textbook_loss(model, request) for request in batch]).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    changes = {n: (p - before[n]).detach().clone() for n, p in trained.items()}
    with torch.no_grad():
        for name, p in trained.items():
            p.requires_grad_(False).copy_(before[name])
    return changes


@pytest.mark.parametrize("tuned", ["down", "block"])
@pytest.mark.parametrize("kind", KINDS_IN_FLOAT64)
def test_a_change_is_that_of_plain_fine_tuning(kind: str, tuned: Any) -> None:
    model = tiny(kind)
    config = LocftConfig(layer=LAYER, epochs=2, batch_size=3, tuned=tuned)
    found = LocftEditor(config).edit(EditContext(model, seed=4), REQUESTS)
    expected = textbook(model, REQUESTS, config, 4)
    assert found.delta is not None
    assert found.delta.updates.keys() == expected.keys()
    for name, update in found.delta.updates.items():
        stored = update.dense().T if stores_transposed(model.model, name) else update.dense()
        # GPT-Neo computes attention in float32, and Adam's steps do not shrink with the gradient.
        torch.testing.assert_close(stored, expected[name], rtol=1e-5, atol=1e-7)


def test_states_computed_again_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = LocftEditor(LocftConfig(layer=LAYER, epochs=3, batch_size=3))
    context = EditContext(tiny("llama"))
    kept = editor.edit(context, REQUESTS).delta
    monkeypatch.setattr(tuning, "KEPT_NUMBERS", 0)
    again = editor.edit(context, REQUESTS).delta
    (name,) = kept.updates
    torch.testing.assert_close(
        again.updates[name].dense(), kept.updates[name].dense(), rtol=1e-6, atol=1e-10
    )


def test_facts_that_are_known_take_no_step_and_one_epoch() -> None:
    config = LocftConfig(layer=LAYER, stop_loss=100.0)
    result = LocftEditor(config).edit(EditContext(tiny("llama")), REQUESTS)
    assert result.diagnostics["steps"] == 0
    assert result.delta.norm() == 0


def test_a_mini_batch_below_the_limit_is_skipped_and_the_others_are_not() -> None:
    context = EditContext(tiny("llama"))
    untrained = LocftEditor(LocftConfig(layer=LAYER, stop_loss=100.0))
    losses = sorted(untrained.edit(context, [r]).diagnostics["loss"] for r in REQUESTS)
    limit = (losses[0] + losses[1]) / 2
    config = LocftConfig(layer=LAYER, epochs=1, batch_size=1, stop_loss=limit, learning_rate=1e-9)
    result = LocftEditor(config).edit(context, REQUESTS)
    assert result.diagnostics["steps"] == len(REQUESTS) - 1


def test_training_ends_when_the_facts_are_learnt() -> None:
    config = LocftConfig(layer=LAYER, learning_rate=0.05, stop_loss=0.5, epochs=100)
    result = LocftEditor(config).edit(EditContext(tiny("gptj")), REQUESTS[:1])
    assert result.diagnostics["loss"] < 0.5
    assert result.diagnostics["steps"] < 100


def test_a_fact_without_tokens_is_refused() -> None:
    editor = LocftEditor(LocftConfig(layer=LAYER))
    with pytest.raises(RequestError, match="nothing to edit"):
        editor.edit(EditContext(tiny("llama")), [])


def test_a_model_with_nans_gives_a_failed_result() -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    result = LocftEditor(LocftConfig(layer=LAYER)).edit(EditContext(model), REQUESTS)
    assert result.delta is None
    assert "non-finite" in result.status
