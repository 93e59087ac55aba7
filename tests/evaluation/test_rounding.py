"""Rounding is GGUF's, bit by bit, and leaves no trace in the model."""

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize, quantize
from torch import Tensor

from editcore.errors import ModelError
from editcore.evaluation import rounding
from editcore.evaluation.perplexity import read_unedited, tokenize
from editcore.evaluation.treatments.gguf_rounding import rounded
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import SENTENCES, tiny_model

KINDS = ("gpt2", "llama")
TYPES = {8: gguf.GGMLQuantizationType.Q8_0, 4: gguf.GGMLQuantizationType.Q4_0}


def loaded(kind: str, precision: str = "float32") -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind), precision)


def everything(model: LoadedModel) -> dict[str, Tensor]:
    """A copy of all parameters, and of the buffers of the twin of lower precision."""
    found = {**model.model.state_dict(), **dict(model.frozen.model.named_buffers())}
    return {name: tensor.clone() for name, tensor in found.items()}


def unchanged(model: LoadedModel, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(before[name], tensor) for name, tensor in everything(model).items())


@pytest.mark.parametrize("bits", rounding.BITS)
def test_it_is_gguf_s_own_rounding(bits: int) -> None:
    weight = 0.05 * torch.randn(7, 96, generator=torch.Generator().manual_seed(bits))
    weight[2, 32:64] = 0.0
    theirs = dequantize(quantize(weight.numpy(), TYPES[bits]), TYPES[bits])
    assert np.array_equal(rounded(weight, bits).numpy(), theirs)


def test_a_block_is_rounded_to_multiples_of_its_own_scale() -> None:
    first, second = torch.zeros(32), torch.zeros(32)
    first[:4] = torch.tensor([-4.0, 1.3, 0.2, 3.9])  # in steps of 0.5: -8, 2.6, 0.4, 7.8
    second[:3] = torch.tensor([16.0, 1.1, -12.9])  # in steps of -2: -8, -0.55, 6.45
    four = rounded(torch.cat([first, second])[None], 4)[0]
    assert four[:4].tolist() == [-4.0, 1.5, 0.0, 3.5]
    assert four[32:35].tolist() == [16.0, 2.0, -12.0]
    first[:4] = torch.tensor([127.0, 3.4, -2.6, 0.5])  # in steps of 1
    assert rounded(first[None], 8)[0, :4].tolist() == [127.0, 3.0, -3.0, 1.0]


@pytest.mark.parametrize("bits", rounding.BITS)
def test_a_weight_on_the_grid_and_a_rounded_one_stay_as_they_are(bits: int) -> None:
    grid = 0.25 * torch.arange(-8.0, 8.0).repeat(2)[None]
    if bits == 8:
        grid = torch.cat([grid, torch.tensor([[0.25 * 127]])], dim=1)
    assert torch.equal(rounded(grid[:, -32:], bits), grid[:, -32:])
    weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    once = rounded(weight, bits)
    assert torch.equal(rounded(once, bits), once)


@pytest.mark.parametrize("bits", rounding.BITS)
def test_a_last_block_of_fewer_inputs_is_rounded_too(bits: int) -> None:
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    whole = rounded(torch.cat([weight, torch.zeros(3, 24)], dim=1), bits)
    assert torch.equal(rounded(weight, bits), whole[:, :40])


@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_linear_maps_are_rounded_and_a_head_of_its_own(kind: str) -> None:
    model = loaded(kind)
    head = model.model.get_output_embeddings().weight
    tied = head is model.model.get_input_embeddings().weight
    before = everything(model)
    with rounding.compression(4, "cpu").applied(model):
        after = everything(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert ("lm_head.weight" in changed) is not tied
    inside = {name for name in changed if name != "lm_head.weight"}
    assert inside == {
        name
        for name, tensor in before.items()
        if model.parts.block_of(name) is not None and tensor.ndim == 2
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_back_bit_by_bit_also_after_an_error(kind: str, precision: str) -> None:
    model = loaded(kind, precision)
    before = everything(model)
    with rounding.compression(8, "cpu").applied(model):
        assert not unchanged(model, before)
    assert unchanged(model, before)
    with (
        pytest.raises(RuntimeError, match="in the block"),
        rounding.compression(4, "cpu").applied(model),
    ):
        assert not unchanged(model, before)
        raise RuntimeError("in the block")
    assert unchanged(model, before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_fewer_bits_move_predictions_further(kind: str, precision: str) -> None:
    model = loaded(kind, precision)
    texts = tokenize(model, SENTENCES)
    unedited = read_unedited(model, texts)
    found = {
        bits: rounding.measure(model, texts, unedited, rounding.compression(bits, "cpu"))
        for bits in rounding.BITS
    }
    moved = {bits: each.disturbance.mean for bits, each in found.items() if each.disturbance}
    assert 0 < moved[8] < moved[4]
    assert found[4].mean != found[8].mean != unedited.perplexity.mean


def test_a_quantised_weight_is_refused_before_anything_changes() -> None:
    model = loaded("llama")
    down = model.parts.down(2)
    whole = (100 * down.weight).to(torch.int8)
    down.weight = torch.nn.Parameter(whole, requires_grad=False)
    before = everything(model)
    with (
        pytest.raises(ModelError, match=r"layers\.2\.mlp\.down_proj\.weight .* is quantised"),
        rounding.compression(8, "cpu").applied(model),
    ):
        pass
    assert unchanged(model, before)
