"""Fine-tuning compared with a plain loop, its bound, its two losses, and what cannot be tuned."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from editcore_ft import tuning
from editcore_ft.config import FtConfig, FtUnconstrainedConfig
from editcore_ft.editor import FtEditor
from pydantic import ValidationError

from editcore import EditContext, EditRequest
from editcore.testing import KINDS_IN_FLOAT64, tiny_model, tiny_requests
from editcore.toolkit import (
    Delta,
    LoadedModel,
    Question,
    ask,
    stores_transposed,
    tokenize_questions,
    wrap_model,
)

LAYER = 1
LONG = EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")


def tiny(kind: str) -> LoadedModel:
    """In float64: Adam turns the rounding of a gradient near zero into a whole step."""
    model, tokenizer = tiny_model(kind)
    return wrap_model(kind, model.double(), tokenizer)


def textbook_loss(model: LoadedModel, request: EditRequest, at_prompt: bool) -> torch.Tensor:
    tokenizer = model.tokenizer
    prompt = tokenizer(request.text)["input_ids"]
    target = tokenizer(f" {request.target_new}", add_special_tokens=False)["input_ids"]
    ids = prompt if at_prompt else prompt + target[:-1]
    logits = model.model(torch.tensor([ids])).logits[0]
    places = [len(prompt) - 1 + (0 if at_prompt else i) for i in range(len(target))]
    return torch.nn.functional.cross_entropy(logits[places], torch.tensor(target))


def textbook(
    model: LoadedModel, requests: Sequence[EditRequest], config: FtConfig
) -> tuple[dict[str, torch.Tensor], int]:
    """Train the weights themselves, in whole passes, one row at a time, and restore them."""
    prefix = model.parts.down_weight(LAYER).removesuffix("weight")
    trained = {n: p for n, p in model.model.named_parameters() if n.startswith(prefix)}
    before = {n: p.detach().clone() for n, p in trained.items()}
    adam = torch.optim.Adam([p.requires_grad_() for p in trained.values()], config.learning_rate)
    limit, at_prompt = config.norm_constraint, config.loss == "last_prompt_token"
    taken = 0
    for _ in range(config.steps):
        losses = [textbook_loss(model, request, at_prompt) for request in requests]
        loss = torch.stack(losses).mean()
        if loss < config.stop_loss:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        taken += 1
        with torch.no_grad():
            for name, p in trained.items():
                if limit is not None:
                    p.copy_(p.clamp(before[name] - limit, before[name] + limit))
    changes = {n: (p - before[n]).detach().clone() for n, p in trained.items()}
    with torch.no_grad():
        for name, p in trained.items():
            p.requires_grad_(False).copy_(before[name])
    return changes, taken


def stored(model: LoadedModel, delta: Delta) -> dict[str, torch.Tensor]:
    """The changes as the model stores its parameters."""
    return {
        name: update.dense().T
        if stores_transposed(model.model, name) and update.dense().ndim == 2
        else update.dense()
        for name, update in delta.updates.items()
    }


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, change in found.items():
        torch.testing.assert_close(change, expected[name], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("loss", ["teacher_forced", "last_prompt_token"])
@pytest.mark.parametrize("kind", KINDS_IN_FLOAT64)
def test_changes_are_those_of_plain_fine_tuning(kind: str, loss: Any) -> None:
    model = tiny(kind)
    config = FtConfig(layer=LAYER, steps=4, norm_constraint=1e-3, loss=loss)
    requests = [*tiny_requests(), LONG]
    results = list(FtEditor(config).edit_each(EditContext(model), requests))
    for request, result in zip(requests, results, strict=True):
        expected, taken = textbook(model, [request], config)
        assert result.diagnostics["steps"] == taken
        assert_same(stored(model, result.delta), expected)


def test_several_facts_share_one_change() -> None:
    model = tiny("llama")
    config = FtUnconstrainedConfig(layer=LAYER, steps=4)
    requests = [*tiny_requests(), LONG]
    result = FtEditor(config).edit(EditContext(model), requests)
    assert_same(stored(model, result.delta), textbook(model, requests, config)[0])


def test_bounds_on_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gpt2")
    editor, requests = FtEditor(FtConfig(layer=LAYER, steps=3)), [*tiny_requests(), LONG]
    together = list(editor.edit_each(EditContext(model), requests))
    monkeypatch.setattr(tuning, "NUMBERS_PER_BATCH", 1)
    for one, other in zip(together, editor.edit_each(EditContext(model), requests), strict=True):
        assert_same(stored(model, one.delta), stored(model, other.delta))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_edits_that_end_early_leave_the_others_as_they_are(kind: str) -> None:
    model = tiny(kind)
    requests = [*tiny_requests(), LONG]
    untrained = FtEditor(FtConfig(layer=LAYER, stop_loss=100.0))
    losses = sorted(
        result.diagnostics["loss"] for result in untrained.edit_each(EditContext(model), requests)
    )
    # Two begin below this loss, and two only reach it.
    stop_loss = (losses[1] + losses[2]) / 2
    options = {"steps": 6, "learning_rate": 0.02, "stop_loss": stop_loss}
    config = FtUnconstrainedConfig(layer=LAYER, **options)
    results = list(FtEditor(config).edit_each(EditContext(model), requests))
    taken = [result.diagnostics["steps"] for result in results]
    assert len(set(taken)) > 1, taken
    for request, result in zip(requests, results, strict=True):
        expected, steps = textbook(model, [request], config)
        assert result.diagnostics["steps"] == steps
        assert_same(stored(model, result.delta), expected)


def test_the_bound_limits_every_number_and_without_it_the_fact_is_learnt() -> None:
    model, request = tiny("gptj"), tiny_requests()[0]
    question = Question(request.text, request.target_new)
    bound = FtEditor(FtConfig(layer=LAYER)).edit(EditContext(model), [request])
    numbers = torch.cat([u.dense().flatten() for u in bound.delta.updates.values()])
    assert numbers.abs().max() == pytest.approx(5e-4)
    options = FtUnconstrainedConfig(layer=LAYER, learning_rate=0.05, stop_loss=0.5)
    free = FtEditor(options).edit(EditContext(model), [request])
    assert free.delta.norm() > bound.delta.norm()
    assert free.diagnostics["loss"] < options.stop_loss
    assert free.diagnostics["steps"] < options.steps
    with free.delta.applied(model.model):
        assert ask(model, tokenize_questions(model, [question]))[question].accuracy == 1


def test_the_losses_differ_only_for_targets_of_several_tokens() -> None:
    context = EditContext(tiny("llama"))
    short = tiny_requests()[0]
    assert len(context.model.tokenizer(f" {short.target_new}")["input_ids"]) == 1
    for request, same in ((short, True), (LONG, False)):
        options = ({"loss": "teacher_forced"}, {"loss": "last_prompt_token"})
        one, other = (
            FtEditor(FtConfig(layer=LAYER, steps=2, **o)).edit(context, [request]).delta
            for o in options
        )
        (name,) = one.updates
        assert torch.equal(one.updates[name].dense(), other.updates[name].dense()) == same


def test_a_model_with_nans_gives_a_failed_result() -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    (result,) = FtEditor(FtConfig(layer=LAYER)).edit_each(EditContext(model), tiny_requests()[:1])
    assert result.delta is None
    assert "non-finite" in result.status


def test_a_fact_already_known_needs_no_step() -> None:
    model = tiny("qwen2")
    config = FtConfig(layer=LAYER, stop_loss=100.0)
    result = FtEditor(config).edit(EditContext(model), tiny_requests()[:1])
    assert result.diagnostics["steps"] == 0
    assert result.delta.norm() == 0


def test_what_makes_it_unconstrained_cannot_be_changed() -> None:
    assert FtConfig(layer=3).edited_layers() == (3,)
    assert FtUnconstrainedConfig(layer=0).norm_constraint is None
    with pytest.raises(ValidationError):
        FtUnconstrainedConfig(layer=0, norm_constraint=1e-3)
    with pytest.raises(ValidationError):
        FtConfig(layer=0, loss="first_token")
