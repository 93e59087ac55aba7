"""Equality with the reference on the bundled models, and what bfloat16 changes."""

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

import pytest
import torch
from editcore_rome.config import RomeConfig
from editcore_rome.editor import RomeEditor

from editcore import EditContext, EditRequest
from editcore.collapse.verdict import judge
from editcore.config.collapse import CollapseSection
from editcore.datasets.bundled import data_file
from editcore.datasets.readers import read_requests, read_texts
from editcore.editing import reference
from editcore.evaluation import perplexity
from editcore.evaluation.perplexity import EditedPerplexity
from editcore.keyvalue import prefixes
from editcore.keyvalue.estimation import moment_accumulator
from editcore.keyvalue.keys import mixed
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.value import pose
from editcore.models.arithmetic import precision
from editcore.models.arithmetic.precision import ReducedLinear
from editcore.models.loading import LoadedModel, load_model
from editcore.updates.delta import Delta, DenseUpdate, save_deltas
from tests.patches import Noise

TEMPLATES = ("{}", "Therefore. {}", "The people like it. {}", "You know that. {}", "I think. {}")
CONFIG = RomeConfig(layer=2, second_moment=False)


def requests(name: str, count: int) -> list[EditRequest]:
    return read_requests(data_file(f"resources/world/{name}.json"))[:count]


@cache
def texts() -> list[str]:
    return read_texts(data_file("resources/world/perplexity.json"), 20)


def edits(
    model: LoadedModel,
    facts: Sequence[EditRequest],
    config: RomeConfig = CONFIG,
    templates: ContextPrefixes | None = None,
    second: Mapping[int, SecondMoment] = MappingProxyType({}),
) -> list[Delta]:
    prefixes = templates or ContextPrefixes(TEMPLATES, model.name, 0)
    context = EditContext(model, prefixes, second, key_strategy=mixed)
    results = RomeEditor(config).edit_each(context, facts)
    return [result.delta for result in results if result.delta is not None]


def test_many_cases_agree_with_the_reference() -> None:
    model = load_model("tiny-gpt2", "tiny-gpt2")
    facts, some = requests("normal", 12), texts()[:6]
    fast = edits(model, facts)
    found = EditedPerplexity(model, perplexity.tokenize(model, some)).of(fast)
    for fact, ours, measured in zip(facts, fast, found, strict=True):
        problem = pose(model, fact, TEMPLATES)
        plain = reference.edit_one(model, problem, CONFIG.value_options(), mixed)
        (a,), (b,) = ours.updates.values(), plain.updates.values()
        assert (a.dense() * b.dense()).sum() / (a.norm() * b.norm()) >= 0.99999
        assert a.norm() == pytest.approx(b.norm(), rel=1e-3)
        with plain.applied(model.model):
            assert measured.mean == pytest.approx(reference.perplexity(model, some), rel=1e-4)


def test_a_delta_on_disk_takes_less_than_a_hundredth_of_its_matrix(tmp_path) -> None:
    model = load_model("tiny-gpt2", "tiny-gpt2")
    found = edits(model, requests("normal", 10))
    save_deltas(dict(enumerate(found)), tmp_path / "deltas", {})
    weight = model.model.get_parameter(model.parts.down_weight(2))
    matrix = weight.numel() * weight.element_size()
    assert (tmp_path / "deltas").stat().st_size / len(found) < 0.01 * matrix


def test_bfloat16_seldom_changes_a_verdict(record_property) -> None:
    """The number of changes is in the warning, and in the test's properties."""
    facts = [*requests("hard", 20), *requests("normal", 20)]
    whole = load_model("tiny-gpt2", "tiny-gpt2")
    corpus = read_texts(data_file("resources/world/moments.json"))
    second = moment_accumulator.measure_moments(whole, (2,), corpus, tokens=10_000)
    templates = prefixes.sample_prefixes(whole, ((5, 10), (10, 10)), ("The", "Therefore", "I"), 0)

    def verdicts(model: LoadedModel) -> list[bool]:
        tokens = perplexity.tokenize(model, texts())
        base = perplexity.measure(model, tokens).mean
        changes = edits(model, facts, RomeConfig(layer=2), templates, second)
        measured = EditedPerplexity(model, tokens).of(changes)
        return [judge(found.mean, base, CollapseSection()).collapsed for found in measured]

    before, after = verdicts(whole), verdicts(reduced_model())
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    text = f"bfloat16 changed {changed} of {len(facts)} verdicts; {sum(before)} were collapses"
    record_property("bfloat16", text)
    warnings.warn(text, stacklevel=1)
    assert 0 < sum(before) < len(facts)
    assert changed <= 0.1 * len(facts)
    assert before[20:] == after[20:]


def test_only_linear_maps_are_reduced_and_everything_else_is_shared() -> None:
    model = load_model("tiny-llama", "tiny-llama", precision="bfloat16")
    twin = model.frozen.model
    assert isinstance(model.frozen.parts.down(1), ReducedLinear)
    head = model.model.get_output_embeddings().weight
    assert not isinstance(twin.get_output_embeddings(), ReducedLinear)
    assert twin.get_output_embeddings().weight.data_ptr() == head.data_ptr()
    assert model.model.get_parameter(model.parts.down_weight(1)).dtype == torch.float32
    embedding = model.model.get_input_embeddings().weight
    assert twin.get_input_embeddings().weight.data_ptr() == embedding.data_ptr()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        whole, reduced = model.model(ids).logits, twin(ids).logits
    assert reduced.dtype == torch.float32
    assert not torch.equal(whole, reduced)
    torch.testing.assert_close(reduced, whole, rtol=0.1, atol=0.3)
    assert load_model("tiny-llama", "tiny-llama").frozen.precision == "float32"


@pytest.mark.parametrize("fast", [False, True])
def test_products_are_the_same_whether_or_not_bfloat16_is_fast(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    down = load_model("tiny-gpt2", "tiny-gpt2").parts.down(1)
    inputs = torch.randn(40, 5, down.weight.shape[0], requires_grad=True)

    def product_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
        product = ReducedLinear(down)(inputs)
        return product, torch.autograd.grad(product.square().sum(), inputs)[0]

    here = product_and_gradient()
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda _: fast)
    assert (ReducedLinear(down).weight.dtype == torch.bfloat16) is fast
    step = torch.finfo(torch.bfloat16).eps
    for found, expected in zip(product_and_gradient(), here, strict=True):
        assert ((found == expected).float().mean()) > 0.98
        torch.testing.assert_close(found, expected, rtol=2 * step, atol=step)


@pytest.mark.parametrize(("half", "fast"), [(0.5, True), (0.95, False), (2.0, False)])
def test_bfloat16_is_used_where_its_products_take_less_time(
    monkeypatch: pytest.MonkeyPatch, half: float, fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(
        precision, "_seconds", lambda x, _: half if x.dtype == torch.bfloat16 else 1.0
    )
    assert precision._processor_does.__wrapped__() is fast


def test_a_processor_without_bfloat16_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    monkeypatch.setattr(precision, "_seconds", lambda *_: pytest.fail("timed"))
    assert not precision._processor_does.__wrapped__()


def reduced_model() -> LoadedModel:
    return load_model("tiny-gpt2", "tiny-gpt2", precision="bfloat16")


def test_no_edit_leaves_the_perplexity_of_bfloat16_as_it_is() -> None:
    model = reduced_model()
    tokens = perplexity.tokenize(model, texts()[:4])
    (found,) = EditedPerplexity(model, tokens).of([Delta({})])
    assert found.mean == perplexity.measure(model, tokens).mean


def test_a_patch_is_measured_on_the_reduced_model() -> None:
    model, other = reduced_model(), reduced_model()
    tokens = perplexity.tokenize(model, texts()[:4])
    base = perplexity.measure(model, tokens).mean
    patch = Noise.at(model, 2, seed=0)
    (found,) = EditedPerplexity(model, tokens).of([patch])
    with patch.applied(other.frozen.model):
        assert found.mean == pytest.approx(perplexity.measure(other, tokens).mean, rel=1e-6)
    assert found.mean != pytest.approx(base, rel=1e-3)
    assert perplexity.measure(model, tokens).mean == base


def test_a_change_of_a_tied_embedding_is_one_of_the_head_too() -> None:
    model, other = reduced_model(), reduced_model()
    embedding = model.model.get_input_embeddings().weight
    assert model.model.lm_head.weight is embedding
    name = next(n for n, tensor in model.model.named_parameters() if tensor is embedding)
    generator = torch.Generator().manual_seed(0)
    change = 0.1 * torch.randn(embedding.shape, generator=generator)
    tokens = perplexity.tokenize(model, texts()[:4])
    base, delta = perplexity.measure(model, tokens).mean, Delta({name: DenseUpdate(change)})
    (found,) = EditedPerplexity(model, tokens).of([delta])
    with delta.applied(other.model):  # its twin is made in here, from the changed weights
        assert found.mean == pytest.approx(perplexity.measure(other, tokens).mean, rel=1e-6)
    assert found.mean != pytest.approx(base, rel=1e-3)
    assert perplexity.measure(model, tokens).mean == base
