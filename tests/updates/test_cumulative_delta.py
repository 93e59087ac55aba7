"""Edits that stay: bit by bit the same from the file, and bit by bit gone afterwards."""

from pathlib import Path

import pytest
import torch

from editcore.errors import DataError, PluginError
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import tiny_model
from editcore.updates.cumulative_delta import accumulating, applied, save
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

LAYERS = (1, 2)


def changes(model: LoadedModel, kind: str, seed: int) -> Delta:
    """A change of two matrices, of rank 3 or of all ranks."""
    draw = torch.Generator().manual_seed(seed)
    names = [model.parts.down_weight(layer) for layer in LAYERS]
    if kind == "low":
        factors = [[torch.randn(n, 3, generator=draw) for n in (32, 64)] for _ in names]
        # A transposed factor has the same numbers in another memory layout.
        factors[1][1] = factors[1][1].T.contiguous().T
        updates = [LowRankUpdate(outputs, inputs) for outputs, inputs in factors]
        return Delta(dict(zip(names, updates, strict=True)))
    return Delta({name: DenseUpdate(torch.randn(32, 64, generator=draw)) for name in names})


def state(model: LoadedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """A tiny model of either weight orientation."""
    loaded = wrap_model(request.param, *tiny_model(request.param))
    shapes = [loaded.model.get_parameter(loaded.parts.down_weight(i)).numel() for i in LAYERS]
    assert shapes == [32 * 64] * 2
    return loaded


@pytest.mark.parametrize("kinds", [["low", "low"], ["dense", "low"], ["low", "dense"]])
def test_a_change_that_was_tried_is_reverted_bit_by_bit(
    model: LoadedModel, kinds: list[str], tmp_path: Path
) -> None:
    original = state(model)
    with accumulating(model) as kept:
        kept.try_out(changes(model, kinds[1], 7))()
        assert equal(state(model), original)
        assert kept.parameters == []
        kept.add(changes(model, kinds[0], 0))
        accepted, tensors, record = state(model), kept.tensors(), kept.record()
        take_out = kept.try_out(changes(model, kinds[1], 1))
        assert not equal(state(model), accepted)
        take_out()
        assert equal(state(model), accepted)
        assert (kept.tensors().keys(), kept.record()) == (tensors.keys(), record)
        assert equal(kept.tensors(), tensors)
        save(kept, tmp_path / "kept.safetensors", {})
    assert equal(state(model), original)
    with applied(tmp_path / "kept.safetensors", model):
        assert equal(state(model), accepted)


def test_a_change_that_does_not_fit_is_not_tried(model: LoadedModel) -> None:
    original = state(model)
    wrong = Delta({model.parts.down_weight(1): DenseUpdate(torch.ones(3, 3))})
    with accumulating(model) as kept:
        with pytest.raises(PluginError):
            kept.try_out(wrong)
        assert kept.parameters == []
    assert equal(state(model), original)


@pytest.mark.parametrize("kinds", [["low"] * 5, ["dense"] * 3, ["low", "low", "dense", "low"]])
def test_the_file_makes_the_same_weights_bit_by_bit(
    model: LoadedModel, kinds: list[str], tmp_path: Path
) -> None:
    original = state(model)
    with accumulating(model) as kept:
        for seed, kind in enumerate(kinds):
            kept.add(changes(model, kind, seed))
        edited = state(model)
        save(kept, tmp_path / "all.safetensors", {})
    assert equal(state(model), original)
    with applied(tmp_path / "all.safetensors", model):
        assert equal(state(model), edited)
        assert not equal(state(model), original)
    assert equal(state(model), original)


def test_one_sum_of_all_changes_would_not_be_the_same(model: LoadedModel) -> None:
    several = [changes(model, "dense", seed) for seed in range(8)]
    name = model.parts.down_weight(1)
    with accumulating(model) as kept:
        for change in several:
            kept.add(change)
        one_by_one = model.model.get_parameter(name).detach().clone()
    total = torch.stack([change.updates[name].dense() for change in several]).sum(0)
    with Delta({name: DenseUpdate(total)}).applied(model.model):
        assert not torch.equal(model.model.get_parameter(name), one_by_one)


def test_low_ranks_are_kept_as_factors(model: LoadedModel) -> None:
    with accumulating(model) as kept:
        for seed in range(2):
            kept.add(changes(model, "low", seed))
        tensors = kept.tensors()
    name = model.parts.down_weight(1)
    assert tensors[f"{name}/outputs"].shape == (32, 6)
    assert tensors[f"{name}/ranks"].tolist() == [3, 3]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_restored_too(dtype: torch.dtype, tmp_path: Path) -> None:
    network, tokenizer = tiny_model("llama")
    model = wrap_model("llama", network.to(dtype), tokenizer)
    with accumulating(model) as kept:
        for seed, kind in enumerate(["low", "dense", "low"]):
            kept.add(changes(model, kind, seed))
        edited = state(model)
        save(kept, tmp_path / "all.safetensors", {})
    with applied(tmp_path / "all.safetensors", model):
        assert equal(state(model), edited)


def test_the_norm_is_that_of_the_whole_change(model: LoadedModel) -> None:
    change = changes(model, "dense", 0)
    with accumulating(model) as kept:
        kept.add(change)
        assert kept.norm() == pytest.approx(change.norm(), rel=1e-4)


def test_another_model_s_changes_are_refused(model: LoadedModel, tmp_path: Path) -> None:
    with accumulating(model) as kept:
        kept.add(changes(model, "low", 0))
        save(kept, tmp_path / "all.safetensors", {})
        with (
            pytest.raises(DataError, match="made for another model"),
            applied(tmp_path / "all.safetensors", model),
        ):
            pass


def test_a_foreign_file_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "all.safetensors").write_bytes(b"nothing")
    with (
        pytest.raises(DataError, match="no accumulated edits"),
        applied(tmp_path / "all.safetensors", model),
    ):
        pass


def test_a_change_that_does_not_fit_leaves_the_model_alone(model: LoadedModel) -> None:
    original = state(model)
    name = model.parts.down_weight(1)
    with accumulating(model) as kept:
        with pytest.raises(PluginError, match="has shape"):
            kept.add(Delta({name: DenseUpdate(torch.ones(2, 2))}))
        assert kept.parameters == []
        assert equal(state(model), original)


def test_reduced_products_follow_the_weights() -> None:
    model = wrap_model("llama", *tiny_model("llama"), "bfloat16")
    ids = torch.tensor([[3, 5, 7]])
    before = model.frozen.model(ids).logits.clone()
    with accumulating(model) as kept:
        kept.add(changes(model, "dense", 0))
        follower = model.frozen.model(ids).logits
        anew = (
            wrap_model("llama", model.model, model.tokenizer, "bfloat16").frozen.model(ids).logits
        )
        assert torch.equal(follower, anew)
        assert not torch.equal(follower, before)
    assert torch.equal(model.frozen.model(ids).logits, before)
