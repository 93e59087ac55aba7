"""Logits by difference in bfloat16, and numbers that stay in bfloat16 inside an MLP."""

import pytest
import torch

from editcore.datasets.bundled import data_file
from editcore.datasets.readers import read_texts
from editcore.evaluation.perplexity import EditedPerplexity, measure, read_unedited, tokenize
from editcore.models.arithmetic.head import KnownLogits
from editcore.models.arithmetic.precision import ReducedLinear
from editcore.models.loading import LoadedModel, load_model, wrap_model
from editcore.testing import KINDS, tiny_model
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

NAMES = ("tiny-gpt2", "tiny-llama")
EPSILON = torch.finfo(torch.bfloat16).eps


def reduced(name: str) -> LoadedModel:
    return load_model(name, name, precision="bfloat16")


def texts(count: int) -> list[str]:
    return read_texts(data_file("resources/world/perplexity.json"), count)


@pytest.mark.parametrize("name", NAMES)
def test_the_difference_is_rounded_not_the_logits(name: str) -> None:
    parts = reduced(name).frozen.parts
    assert parts.head_is_rounded
    torch.manual_seed(0)
    hidden = torch.randn(6, parts.down(0).weight.shape[0])
    near = hidden + 1e-3 * torch.randn_like(hidden)
    known = KnownLogits(hidden, parts.logits(hidden))
    assert torch.equal(parts.logits_near(known, hidden), known.logits)
    found, exact = parts.logits_near(known, near), parts.logits(near)
    change = (exact - known.logits).abs().max()
    assert (found - exact).abs().max() < 4 * EPSILON * change
    assert (exact.bfloat16().float() - exact).abs().max() > change / 4  # what rounding all would do


def test_models_of_full_precision_have_no_rounded_head() -> None:
    assert not load_model("tiny-llama", "tiny-llama").frozen.parts.head_is_rounded


@pytest.mark.parametrize("name", NAMES)
def test_only_maps_that_another_map_of_the_mlp_reads_give_bfloat16(name: str) -> None:
    model = reduced(name)
    block = model.frozen.parts.block(1)
    found = {
        path: module.output_dtype
        for path, module in block.named_modules()
        if isinstance(module, ReducedLinear)
    }
    inner = {path for path, dtype in found.items() if dtype == torch.bfloat16}
    assert inner == {*model.anatomy.maps} - {model.anatomy.down}
    assert inner
    assert found[model.anatomy.down] == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_a_small_change_disturbs_as_little_as_in_float32(name: str) -> None:
    measured = {}
    for precision in ("float32", "bfloat16"):
        model = load_model(name, name, precision=precision)
        torch.manual_seed(0)
        width = model.model.config.hidden_size
        key = model.parts.down(1).weight.numel() // width
        change = LowRankUpdate(1e-4 * torch.randn(width, 1), torch.randn(key, 1))
        delta = Delta({model.parts.down_weight(1): change})
        tokens = tokenize(model, texts(6))
        unedited = read_unedited(model, tokens)
        (found,) = EditedPerplexity(model, tokens, unedited.predictions).of([delta])
        assert found.disturbance is not None
        measured[precision] = found.disturbance
    whole, half = measured["float32"], measured["bfloat16"]
    assert whole.kept == 1.0
    assert half.kept > 0.98
    assert half.mean < whole.mean + 1e-5  # rounded logits would add 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_reads_the_same_in_bfloat16(kind: str) -> None:
    found = []
    for precision in ("float32", "bfloat16"):
        model = wrap_model(kind, *tiny_model(kind), precision)
        found.append(measure(model, tokenize(model, texts(2))).mean)
    whole, half = found
    assert half != whole
    assert half == pytest.approx(whole, rel=0.02)


def test_a_changed_head_is_rounded_again() -> None:
    model = reduced("tiny-llama")
    head = model.model.get_output_embeddings().weight
    name = next(n for n, tensor in model.model.named_parameters() if tensor is head)
    parts, hidden = model.frozen.parts, torch.zeros(1, head.shape[1])
    near = torch.ones_like(hidden)
    with Delta({name: DenseUpdate(torch.ones_like(head))}).applied(model.model):
        model.follow([name])
        known = KnownLogits(hidden, parts.logits(hidden))
        torch.testing.assert_close(
            parts.logits_near(known, near), parts.logits(near), rtol=0.02, atol=0.02
        )
    model.follow([name])
