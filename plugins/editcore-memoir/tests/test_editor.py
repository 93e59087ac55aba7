"""The masks, the routing by token, the limits of the memory, its state and its training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from editcore_memoir.config import MemoirConfig
from editcore_memoir.editor import MemoirEditor
from editcore_memoir.memory import Memory
from pydantic import ValidationError

from editcore import ConfigError, EditContext, PluginError, RequestError
from editcore.testing import KINDS_BY_TRAIT, EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import (
    ContextPrefixes,
    LoadedModel,
    Question,
    ask,
    target_row,
    tokenize_questions,
    wrap_model,
)

LAYER = 1
OPTIONS: dict[str, Any] = {"layer": LAYER, "threshold": 0.9}
TEMPLATES = ("{}", "Therefore. {}", "I think that it was not. {}")
TEXTS = ["The sea is quiet in the", *(request.text for request in tiny_requests())]


class TestConformance(EditorConformance):
    editor = "memoir"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 5}


class TestConformanceInTheFirstBlock(EditorConformance):
    editor = "memoir"
    kinds = ("gpt2", "llama", "gemma2")
    options: ClassVar[dict[str, Any]] = {"layer": 0, "steps": 5, "active": 1.0}


def context(kind: str = "llama", seed: int = 0) -> EditContext:
    model = wrap_model(kind, *tiny_model(kind))
    return EditContext(model, ContextPrefixes(TEMPLATES, kind, 0), seed=seed)


def editor(**options: Any) -> MemoirEditor:
    return MemoirEditor(MemoirConfig(**OPTIONS | options))


@torch.no_grad()
def logits(model: LoadedModel, text: str, **given: Any) -> torch.Tensor:
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    found: torch.Tensor = model.model(input_ids=ids, **given).logits
    return found


def memory_of(masks: Sequence[Sequence[int]], width: int = 6) -> Memory:
    """A memory whose permutation is the identity and whose mean is zero."""
    rows = torch.zeros(len(masks), width, dtype=torch.bool)
    for row, columns in zip(rows, masks, strict=True):
        row[list(columns)] = True
    return Memory(torch.ones(2, width), rows, torch.zeros(width), torch.arange(width))


def test_a_mask_is_the_permuted_columns_farthest_from_the_mean() -> None:
    memory = replace(
        memory_of([]),
        background=torch.tensor([0.0, 5.0, 0.0, 0.0, 0.0, 0.0]),
        permutation=torch.tensor([5, 4, 3, 2, 1, 0]),
    )
    (mask,) = memory.hashed(torch.tensor([[-3.0, 5.0, 0.1, 2.0, 0.0, 0.2]]), 2)
    assert mask.nonzero().flatten().tolist() == [2, 5]


def test_the_permutation_is_that_of_the_seed() -> None:
    first, again, other = (Memory.empty(torch.zeros(9), 2, seed).permutation for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.sort().values.tolist() == list(range(9))


def test_an_input_uses_the_stored_mask_that_shares_most_if_it_is_enough() -> None:
    memory = memory_of([(0, 1, 2, 3), (2, 3, 4, 5)])
    inputs = torch.tensor([[4.0, 0.0, 3.0, 2.0, 1.0, 0.0], [4.0, 3.0, 0.0, 0.0, 2.0, 1.0]])
    found = memory.routed(inputs, 4, 0.75)
    assert found[0].nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert not found[1].any()
    added = memory.added(inputs, 4, 0.75)
    assert added.tolist() == [[9.0, 9.0], [0.0, 0.0]]


def test_each_edit_answers_and_an_unrelated_prompt_is_unchanged() -> None:
    given = context()
    model, requests = given.model, tiny_requests()
    result = editor().edit(given, requests)
    asked = [Question(r.text, r.target_new) for r in requests]
    other = Question("The sea is quiet in the", "morning")
    tokens = tokenize_questions(model, [*asked, other])
    before = ask(model, tokens)
    assert result.patch is not None
    with result.patch.applied(model.model):
        after = ask(model, tokens)
    assert all(after[question].accuracy == 1 for question in asked)
    assert after[other].log_probability == pytest.approx(before[other].log_probability)


def test_a_memory_without_facts_changes_nothing() -> None:
    given = context()
    patch = editor().patch_of(given, editor().start(given))
    for text in TEXTS:
        expected = logits(given.model, text)
        with patch.applied(given.model.model):
            assert torch.equal(logits(given.model, text), expected)


def test_a_threshold_above_one_changes_nothing() -> None:
    given = context()
    result = editor(threshold=1.01).edit(given, tiny_requests())
    assert result.patch is not None
    assert len(result.state.masks) > 0
    assert not result.state.weight.any()
    for text in TEXTS:
        expected = logits(given.model, text)
        with result.patch.applied(given.model.model):
            assert torch.equal(logits(given.model, text), expected)


def test_with_all_columns_active_the_memory_is_a_change_of_the_weight() -> None:
    given = context()
    result = editor(active=1.0).edit(given, tiny_requests()[:1])
    assert result.patch is not None
    assert result.state.masks.all()
    weight = given.model.model.get_parameter(given.model.parts.down_weight(LAYER))
    for text in TEXTS:
        with result.patch.applied(given.model.model):
            patched = logits(given.model, text)
        before = weight.detach().clone()
        with torch.no_grad():
            weight += result.state.weight
            changed = logits(given.model, text)
            weight.copy_(before)
        torch.testing.assert_close(patched, changed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2"])
def test_a_step_is_one_of_gradient_descent_through_the_patched_model(kind: str) -> None:
    """The gradient with respect to a dense M, clipped to norm 1; zero outside the masks."""
    given, request = context(kind), tiny_requests()[0]
    model, one = given.model, editor(steps=1)
    result = one.edit(given, [request])
    row = target_row(model, request.text, request.target_new)
    dense = torch.zeros_like(result.state.weight, requires_grad=True)
    patch = one.patch_of(given, replace(result.state, weight=dense))
    with torch.enable_grad(), patch.applied(model.model):
        found = model.model(input_ids=torch.tensor([row.ids])).logits[0, -len(row.target) :]
        loss = torch.nn.functional.cross_entropy(found, torch.tensor(row.target))
        (gradient,) = torch.autograd.grad(loss, dense)
    expected = -gradient * min(1.0, 1 / float(gradient.norm()))
    torch.testing.assert_close(result.state.weight, expected, rtol=1e-4, atol=1e-6)
    assert result.diagnostics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    unused = ~result.state.masks.any(0)
    assert unused.any()
    assert result.diagnostics["entries"] == len(result.state.masks)
    assert result.diagnostics["used_share"] == pytest.approx(1 - float(unused.double().mean()))
    assert not result.state.weight[:, unused].any()


def test_a_prompt_read_in_two_passes_gives_what_one_pass_gives() -> None:
    given, request = context(), tiny_requests()[0]
    model, patch = given.model, editor().edit(given, [request]).patch
    assert patch is not None
    ids = torch.tensor([model.tokenizer(request.text)["input_ids"]])
    with torch.no_grad(), patch.applied(model.model):
        whole = model.model(input_ids=ids).logits
        for cut in range(1, ids.shape[1]):
            begun = model.model(input_ids=ids[:, :cut], use_cache=True)
            rest = model.model(
                input_ids=ids[:, cut:], past_key_values=begun.past_key_values, use_cache=True
            ).logits
            parts = torch.cat([begun.logits, rest], 1)
            torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


def test_a_sequence_resumes_from_its_saved_state() -> None:
    given, one = context(), editor()
    first, second, third = tiny_requests()
    state = one.edit(given, [first, second]).state
    restored = one.load_state(given, one.save_state(state))
    through, again = (one.edit(given, [third], each).state for each in (state, restored))
    together = one.edit(given, [first, second, third]).state
    for name in ("weight", "masks", "background", "permutation"):
        assert torch.equal(getattr(through, name), getattr(again, name))
        assert torch.equal(getattr(through, name), getattr(together, name))
    assert one.load_state(given, one.save_state(None)) is None


def test_what_does_not_fit_is_refused() -> None:
    given = context()
    with pytest.raises(RequestError, match="nothing to edit"):
        editor().edit(given, [])
    with pytest.raises(ConfigError, match="no text besides their slot"):
        editor().start(replace(given, prefixes=ContextPrefixes(("{}",), "llama", 0)))
    with pytest.raises(ValidationError):
        MemoirConfig(layer=0, active=0)
    patch = editor().edit(given, tiny_requests()[:1]).patch
    assert patch is not None
    gpt2, _ = tiny_model("gpt2")
    with pytest.raises(PluginError, match="which the model does not have"):
        patch.check(gpt2)


def test_a_model_with_nans_gives_a_failed_result() -> None:
    given = context()
    with torch.no_grad():
        given.model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    result = editor().edit(given, tiny_requests()[:1])
    assert result.patch is None
    assert "not finite" in result.status
