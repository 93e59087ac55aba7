"""SimIE's sum of changes is the ridge regression of what each edit alone adds at its tokens."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from editcore_wrappers.config import SimIEConfig
from editcore_wrappers.simie import SimIE, keys_of, unedited

from editcore import EditContext, EditRequest, RequestError, load_registry, resolve_factory
from editcore.testing import EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import (
    ContextPrefixes,
    Delta,
    DenseUpdate,
    LoadedModel,
    SecondMoment,
    stores_transposed,
    wrap_model,
)

KINDS = ("gpt2", "llama")
REQUESTS = tiny_requests()
BASES: dict[str, dict[str, Any]] = {
    "rome": {"layer": 1, "steps": 3, "second_moment": False},
    "memit": {"layers": [0, 1], "steps": 3, "moment_weight": 1.0},
    "ft": {"layer": 1, "steps": 3},
    "memit-seq": {"layers": [0, 1], "steps": 3, "moment_weight": 1.0},
}


class TestSimIEAroundRome(EditorConformance):
    """All tests are inherited."""

    editor = "rome"
    kinds = ("gpt2", "gptj", "llama", "gemma2", "opt")
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}
    wrappers: ClassVar[dict[str, Any]] = {"simie": {}}


class TestSimIEAroundNasAndMemitSeq(EditorConformance):
    """All tests are inherited."""

    editor = "memit-seq"
    kinds = ("gpt2", "llama", "opt")
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}
    wrappers: ClassVar[dict[str, Any]] = {"nas": {}, "simie": {"ridge": 1.0}}


class TestSimIEAroundFT(EditorConformance):
    """All tests are inherited."""

    editor = "ft"
    kinds = KINDS
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}
    wrappers: ClassVar[dict[str, Any]] = {"simie": {}}


def context(kind: str) -> EditContext:
    model = wrap_model(kind, *tiny_model(kind))
    width = model.parts.down(0).weight.numel() // 32
    moments = {n: SecondMoment.from_matrix(n, torch.eye(width), 9) for n in (0, 1)}
    strategy = resolve_factory(load_registry().key_strategies["mixed"].record.factory)
    prefixes = ContextPrefixes(("{}", "I think. {}"), kind, 0)
    return EditContext(model, prefixes, moments, key_strategy=strategy)


def simie(base: str, ridge: float) -> SimIE:
    info = load_registry().editors[base].record
    inner = resolve_factory(info.factory)(info.config.model_validate(BASES[base]))
    return SimIE(inner, SimIEConfig(ridge=ridge))


def inputs(model: LoadedModel, name: str, request: EditRequest) -> torch.Tensor:
    """The inputs of a map at every token of prompt and target, as columns; of a bias, ones."""
    seen: list[torch.Tensor] = []
    module = model.model.get_submodule(name.removesuffix(".weight").removesuffix(".bias"))
    ids = model.tokenizer(f"{request.text} {request.target_new}", return_tensors="pt")["input_ids"]
    handle = module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model.model(input_ids=ids)
    handle.remove()
    (found,) = seen
    keys = found.reshape(-1, found.shape[-1]).T.double()
    return torch.ones_like(keys[:1]) if name.endswith(".bias") else keys


def dense(model: LoadedModel, name: str) -> torch.Tensor:
    weight = model.model.get_parameter(name).detach().double().clone()
    return matrix(weight.T if stores_transposed(model.model, name) else weight)


def matrix(change: torch.Tensor) -> torch.Tensor:
    """A bias as a column."""
    return change.double() if change.ndim == 2 else change.double()[:, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", ["rome", "memit", "ft"])
def test_after_every_edit_the_sum_is_the_regression_on_all_edits_so_far(
    kind: str, base: str
) -> None:
    """A M = Σ Δᵢ Kᵢ Kᵢᵀ with M = λI + Σ Kᵢ Kᵢᵀ, every Δᵢ and Kᵢ those of the unedited model."""
    ridge, given, editor = 0.5, context(kind), simie(base, 0.5)
    model = given.model
    alone = [editor.inner.edit(given, [r]).delta for r in REQUESTS]
    names = [*alone[0].updates]
    keys = {name: [inputs(model, name, r) for r in REQUESTS] for name in names}
    before = {name: dense(model, name) for name in names}
    bits = {n: t.clone() for n, t in model.model.state_dict().items()}
    state = editor.start(given)
    for step, request in enumerate(REQUESTS, 1):
        result = editor.edit(given, [request], state)
        assert result.delta is not None, result.status
        result.delta.add_to(model.model)
        state = result.state
        for name in names:
            so_far = list(zip(alone[:step], keys[name][:step], strict=True))
            moment = ridge * torch.eye(len(keys[name][0]), dtype=torch.float64)
            moment = moment + sum(k @ k.T for _, k in so_far)
            wanted = sum(matrix(d.updates[name].dense()) @ k @ k.T for d, k in so_far)
            expected = torch.linalg.solve(moment, wanted.T).T
            found = dense(model, name) - before[name]
            assert float((found - expected).norm()) <= 1e-4 * float(expected.norm()), (step, name)
    model.model.load_state_dict(bits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", ["rome", "memit", "ft"])
def test_without_ridge_the_first_edit_adds_what_it_adds_alone_at_its_own_tokens(
    kind: str, base: str
) -> None:
    given, editor = context(kind), simie(base, 1e-9)
    alone = editor.inner.edit(given, REQUESTS[:1]).delta
    result = editor.edit(given, REQUESTS[:1], editor.start(given))
    assert result.diagnostics["change_norm"] == pytest.approx(alone.norm(), rel=1e-6)
    assert result.diagnostics.items() >= editor.inner.edit(given, REQUESTS[:1]).diagnostics.items()
    found = result.delta
    assert found.updates.keys() == alone.updates.keys()
    for name, update in alone.updates.items():
        keys = inputs(given.model, name, REQUESTS[0])
        wanted = matrix(update.dense()) @ keys
        added = matrix(found.updates[name].dense()) @ keys
        assert float((added - wanted).norm()) <= 1e-4 * float(wanted.norm())
        assert found.updates[name].norm() <= update.norm() * (1 + 1e-6)


def test_a_larger_ridge_makes_smaller_changes() -> None:
    given = context("gpt2")
    sizes = [
        simie("rome", ridge).edit(given, REQUESTS[:1]).delta.norm() for ridge in (1e-6, 1.0, 1e6)
    ]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 1e-3 * sizes[0]


def test_several_facts_are_one_edit_with_the_keys_of_all() -> None:
    given, editor = context("llama"), simie("memit", 1e-9)
    alone = editor.inner.edit(given, REQUESTS).delta
    found = editor.edit(given, REQUESTS).delta
    keys = keys_of(given.model, alone, REQUESTS)
    for name, update in alone.updates.items():
        theirs = torch.cat([inputs(given.model, name, r) for r in REQUESTS], 1)
        torch.testing.assert_close(keys[name], theirs, rtol=1e-5, atol=1e-6)
        wanted = update.dense().double() @ keys[name]
        added = found.updates[name].dense().double() @ keys[name]
        assert float((added - wanted).norm()) <= 1e-3 * float(wanted.norm())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_edited_weights_return_bit_by_bit(dtype: str) -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    model.model.to(getattr(torch, dtype))
    name = model.parts.down_weight(1)
    original = {name: model.model.get_parameter(name).detach().clone()}
    noise = torch.randn(original[name].shape, generator=torch.Generator().manual_seed(0))
    with Delta({name: DenseUpdate(0.1 * noise)}).applied(model.model):
        edited = model.model.get_parameter(name).detach().clone()
        with pytest.raises(ZeroDivisionError), unedited(model, original):
            assert torch.equal(model.model.get_parameter(name), original[name])
            raise ZeroDivisionError
        assert torch.equal(model.model.get_parameter(name), edited)


def test_the_state_is_saved_with_that_of_the_editor_within(tmp_path: Any) -> None:
    given, editor = context("llama"), simie("memit-seq", 1.0)
    result = editor.edit(given, REQUESTS[:1], editor.start(given))
    saved = editor.save_state(result.state)
    assert {key.partition("/")[0] for key in saved} == {"original", "moment", "inner"}
    loaded = editor.load_state(given, saved)
    assert all(torch.equal(loaded.inner[n], t) for n, t in result.state.inner.items())
    assert same(loaded.original, result.state.original)
    assert same(loaded.moment, result.state.moment)
    first = editor.start(given)
    assert editor.load_state(given, editor.save_state(first)) == first


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_change_of_anything_but_a_linear_map_is_refused() -> None:
    given = context("gpt2")
    for name in ("transformer.h.1.ln_2.bias", "transformer.h.1.ln_2.weight"):
        change = Delta({name: DenseUpdate(torch.ones(32))})
        with pytest.raises(RequestError, match=f"the editor changes {name}"):
            keys_of(given.model, change, REQUESTS[:1])
