"""Differences between two stored models: which weights, how much, and of which rank."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from editcore.errors import ModelError
from editcore.testing.models import tiny_model
from editcore.updates.numerical_rank import MOST, numerical_rank, rounding_errors
from editcore.updates.saved.weight_difference import difference, differences, paired_weights
from tests.model_folders import sharded

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of_rank(rank: int, rows: int, columns: int, size: float) -> Tensor:
    """A matrix of a rank whose Frobenius norm is about `size` times that of a random one."""
    product = drawn(rows, rank, seed=1) @ drawn(rank, columns, seed=2)
    return product * size * (rows * columns) ** 0.5 / product.norm()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [0.05, 1.0, 100.0])
@pytest.mark.parametrize("rank", [1, 4])
def test_the_rank_is_that_of_what_was_added(dtype: torch.dtype, size: float, rank: int) -> None:
    weight, change = drawn(48, 80).to(dtype), of_rank(rank, 48, 80, size)
    found = difference("w", weight, weight + change.to(dtype))
    assert found.changed
    assert found.low_rank
    assert found.rank == rank
    assert found.relative == pytest.approx(size, rel=0.1)
    assert found.first is not None
    assert found.first == pytest.approx(1.0, abs=0.01) if rank == 1 else found.first < 0.9


def test_norm_and_energy_are_exact_where_rounding_is_not() -> None:
    left, right = torch.zeros(6, 2).double(), torch.zeros(5, 2).double()
    left[0, 0], left[1, 1], right[2, 0], right[3, 1] = 3.0, 1.0, 1.0, 1.0
    found = difference("w", torch.zeros(6, 5).double(), left @ right.T)
    assert (found.norm, found.rank) == (pytest.approx(10**0.5), 2)
    assert found.first == pytest.approx(0.9)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_a_model_stored_in_fewer_bits_is_not_changed_by_that(dtype: torch.dtype) -> None:
    weight = drawn(40, 60)
    assert not difference("w", weight, weight.to(dtype)).changed
    edited = weight + torch.outer(drawn(40, seed=1), drawn(60, seed=2))
    assert difference("w", weight, edited.to(dtype)).rank == 1
    assert not difference("w", weight.to(dtype), weight.to(dtype).float()).changed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_dense_change_has_full_rank_and_a_single_bit_counts(dtype: torch.dtype) -> None:
    weight = drawn(40, 60).to(dtype)
    assert difference("w", weight, weight + 0.3 * drawn(40, 60, seed=1).to(dtype)).rank == 40
    other = weight.clone()
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    other.view(bits)[3, 4] ^= 1
    found = difference("w", weight, other)
    assert found.changed
    assert found.rank == 0  # rounding explains it


@pytest.mark.parametrize(("rank", "seen"), [(1, 1), (7, 7), (MOST + 20, None)])
def test_a_large_matrix_is_not_decomposed_whole(rank: int, seen: int | None) -> None:
    side = MOST + 40
    weight, change = drawn(side, side + 10), of_rank(rank, side, side + 10, 0.1)
    found = difference("w", weight, weight + change)
    assert found.rank == seen
    assert found.low_rank == (seen is not None)
    exact = torch.linalg.svdvals(change.double())
    assert found.first == pytest.approx(float(exact[0] / change.norm()) ** 2, rel=0.05)


def test_a_vector_has_no_rank() -> None:
    found = difference("b", torch.ones(4), torch.tensor([1.0, 1.0, 1.0, 3.0]))
    assert (found.norm, found.relative, found.rank, found.first) == (2.0, 1.0, None, None)
    assert found.rank_in_words == "–"


def test_numbers_that_are_not_finite_are_counted() -> None:
    spoilt = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]])
    assert difference("w", torch.ones(2, 2), spoilt).nonfinite == 2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_number_is_rounded_by_more_than_its_error(dtype: torch.dtype) -> None:
    numbers = torch.cat([drawn(4000), 1e-3 * drawn(4000, seed=1), torch.tensor([0.0, 1.0, 2.0])])
    numbers = numbers.double() * torch.pi
    lost = (numbers.to(dtype).double() - numbers).abs()
    errors = rounding_errors(numbers, dtype)
    assert bool((lost <= 1.001 * errors).all())  # float16 is rounded to float32 first
    assert float((lost / errors).max()) > 0.9


def test_rounding_alone_has_no_rank() -> None:
    weight = drawn(64, 96).double()
    rounded = weight.to(torch.bfloat16).double()
    assert numerical_rank(rounded - weight, rounding_errors(weight, torch.bfloat16)).rank == 0


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return sharded(tmp_path / "base")


def stored(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    return folder


def whole(folder: Path) -> dict[str, Tensor]:
    return {k: t for file in folder.glob("*.safetensors") for k, t in load_file(file).items()}


def test_files_may_be_cut_and_named_in_another_way(base: Path, tmp_path: Path) -> None:
    """One file for several; names without the base's prefix; a tied head under its own name."""
    model, _ = tiny_model("gpt2")
    assert len(list(base.glob("*.safetensors"))) > 1
    tensors = {k.removeprefix("transformer."): t for k, t in whole(base).items()}
    assert "lm_head.weight" not in tensors
    assert "wte.weight" in tensors
    tensors["lm_head.weight"] = tensors.pop("wte.weight")
    tensors["h.1.mlp.c_proj.weight"] = tensors["h.1.mlp.c_proj.weight"] + 1.0
    found = [*differences(paired_weights(model, base, stored(tmp_path / "other", tensors)))]
    assert len(found) == len(list(model.parameters()))
    assert [w.name for w in found if w.changed] == ["transformer.h.1.mlp.c_proj.weight"]
    assert [w.rank for w in found if w.changed] == [1]


def test_other_models_are_refused(base: Path, tmp_path: Path) -> None:
    model, _ = tiny_model("gpt2")
    tensors = whole(base)
    name = "transformer.h.2.mlp.c_proj.weight"
    wider = stored(tmp_path / "wider", {**tensors, name: torch.zeros(65, 32)})
    with pytest.raises(ModelError, match=rf"{name} has the shape \(65, 32\) in .* \(64, 32\)"):
        paired_weights(model, base, wider)
    less = stored(tmp_path / "less", {k: t for k, t in tensors.items() if k != name})
    with pytest.raises(ModelError, match=f"has no tensor {name}"):
        paired_weights(model, base, less)
    whole_numbers = {**tensors, name: tensors[name].to(torch.int8)}
    with pytest.raises(ModelError, match=f"stores {name} as I8"):
        paired_weights(model, base, stored(tmp_path / "quantised", whole_numbers))
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor"):
        paired_weights(model, base, tmp_path)
