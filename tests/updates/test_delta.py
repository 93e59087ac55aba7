"""A delta is applied, reverted bit by bit, saved and loaded."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.errors import DataError, PluginError
from editcore.models.loading import wrap_model
from editcore.testing.models import KINDS, tiny_model
from editcore.updates.delta import (
    Delta,
    DenseUpdate,
    LowRankUpdate,
    combine_deltas,
    load_deltas,
    save_deltas,
)


def rank_one(model: torch.nn.Module, name: str, transposed: bool) -> Delta:
    shape = model.get_parameter(name).shape
    d_out, d_in = reversed(shape) if transposed else shape
    torch.manual_seed(3)
    return Delta({name: LowRankUpdate(torch.randn(d_out, 1), torch.randn(d_in, 1))})


@pytest.mark.parametrize("kind", KINDS)
def test_applied_adds_the_update_to_the_map_and_leaves_no_trace(kind: str) -> None:
    loaded = wrap_model(kind, *tiny_model(kind))
    name, down = loaded.parts.down_weight(1), loaded.parts.down(1)
    delta = rank_one(loaded.model, name, transposed=kind == "gpt2")
    update = delta.updates[name]
    assert isinstance(update, LowRankUpdate)
    x = torch.randn(2, 5, update.inputs.shape[0])
    original, plain = loaded.model.get_parameter(name).clone(), down(x)
    with delta.applied(loaded.model):
        expected = plain + x @ update.inputs @ update.outputs.T
        torch.testing.assert_close(down(x), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(loaded.model.get_parameter(name), original)


def test_an_error_inside_still_reverts() -> None:
    model, _ = tiny_model("llama")
    name = "model.layers.0.mlp.down_proj.weight"
    original = model.get_parameter(name).clone()
    with pytest.raises(ZeroDivisionError), rank_one(model, name, False).applied(model):
        _ = 1 / 0
    assert torch.equal(model.get_parameter(name), original)


def test_square_matrices_are_told_apart_by_their_module() -> None:
    model, _ = tiny_model("gpt2", n_inner=32)
    name = "transformer.h.0.mlp.c_proj.weight"
    delta = Delta({name: DenseUpdate(torch.arange(32 * 32.0).reshape(32, 32))})
    before = model.get_parameter(name).clone()
    with delta.applied(model):
        change = model.get_parameter(name) - before
    torch.testing.assert_close(change, delta.updates[name].dense().T, rtol=1e-3, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
def test_the_norm_needs_no_dense_matrix(rows: int, columns: int, rank: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    update = LowRankUpdate(
        torch.randn(rows, rank, generator=generator),
        torch.randn(columns, rank, generator=generator),
    )
    assert update.norm() == pytest.approx(float(update.dense().norm()), rel=1e-4, abs=1e-5)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    low = LowRankUpdate(torch.randn(4, 2), torch.randn(3, 2))
    written = {7: Delta({"a.weight": low}), 9: Delta({"b": DenseUpdate(torch.randn(2, 2))})}
    save_deltas(written, tmp_path / "d.safetensors", {"job": "x"})
    read = load_deltas(tmp_path / "d.safetensors")
    assert set(read) == {7, 9}
    assert torch.equal(read[7].updates["a.weight"].dense(), low.dense())
    assert torch.equal(read[9].updates["b"].dense(), written[9].updates["b"].dense())


def test_an_empty_change_is_kept_and_applied(tmp_path: Path) -> None:
    save_deltas({3: Delta({})}, tmp_path / "d.safetensors", {})
    ((case, nothing),) = load_deltas(tmp_path / "d.safetensors").items()
    assert (case, nothing.norm(), nothing.finite()) == (3, 0.0, True)
    model, _ = tiny_model("gpt2")
    with nothing.applied(model):
        assert all(p.isfinite().all() for p in model.parameters())


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_deltas({1: Delta({"a": DenseUpdate(torch.randn(9, 9))})}, path, {})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"d\.safetensors"):
        load_deltas(path)


def test_wrong_shapes_and_names_are_refused_before_anything_changes() -> None:
    model, _ = tiny_model("llama")
    name = "model.layers.0.mlp.down_proj.weight"
    original = model.get_parameter(name).clone()
    wrong = Delta({name: DenseUpdate(torch.zeros(2, 2))})
    with pytest.raises(PluginError, match="shape"), wrong.applied(model):
        pass
    with (
        pytest.raises(PluginError, match=r"no\.such"),
        Delta(
            {name: DenseUpdate(torch.ones_like(original)), "no.such": DenseUpdate(torch.ones(1))}
        ).applied(model),
    ):
        pass
    assert torch.equal(model.get_parameter(name), original)


def test_non_finite_numbers_are_seen() -> None:
    bad = LowRankUpdate(torch.tensor([[float("nan")]]), torch.ones(1, 1))
    assert not Delta({"a": bad}).finite()
    assert Delta({"a": DenseUpdate(torch.ones(1))}).finite()


def test_sequential_edits_are_one_delta() -> None:
    torch.manual_seed(0)
    first, second = (LowRankUpdate(torch.randn(4, r), torch.randn(3, r)) for r in (1, 2))
    change = DenseUpdate(torch.randn(4, 3))
    low = combine_deltas([Delta({"a": first}), Delta({"a": second, "b": first})])
    assert isinstance(low.updates["a"], LowRankUpdate)
    assert low.updates["a"].outputs.shape == (4, 3)
    torch.testing.assert_close(low.updates["a"].dense(), first.dense() + second.dense())
    mixed = combine_deltas([low, Delta({"a": change})])
    whole = first.dense() + second.dense() + change.dense()
    torch.testing.assert_close(mixed.updates["a"].dense(), whole)
    torch.testing.assert_close(mixed.updates["b"].dense(), first.dense())
