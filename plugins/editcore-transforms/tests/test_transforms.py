"""What the mathematics of the transforms guarantees, for weights stored either way."""

import math
from typing import Any

import pytest
import torch
from editcore_transforms.config import PruneConfig, RectConfig, SphereConfig
from editcore_transforms.prune import prune, restrained
from editcore_transforms.rect import kept, rect
from editcore_transforms.sphere import main_directions, sphere
from editcore_transforms.weights import weight
from pydantic import ValidationError

from editcore.testing import tiny_model
from editcore.toolkit import Delta, DenseUpdate, LoadedModel, LowRankUpdate, wrap_model

KINDS = ("gpt2", "llama")


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return wrap_model(request.param, *tiny_model(request.param))


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def change_of(model: LoadedModel, rank: int = 2) -> tuple[str, LowRankUpdate]:
    name = model.parts.down_weight(1)
    rows, columns = weight(model, name).shape
    return name, LowRankUpdate(numbers(rows, rank), numbers(columns, rank))


def test_a_zero_change_stays_zero(model: LoadedModel) -> None:
    name, update = change_of(model)
    zero = Delta({name: update.scaled(0.0)})
    for found in (
        rect(zero, model, RectConfig()),
        sphere(zero, model, SphereConfig()),
        prune(zero, model, PruneConfig()).delta,
    ):
        assert found.norm() == 0
        found.check(model.model)


@pytest.mark.parametrize("keep", [0.2, 0.4, 1.0])
def test_rect_keeps_the_relatively_largest_numbers_as_they_are(
    model: LoadedModel, keep: float
) -> None:
    name, update = change_of(model)
    found = rect(Delta({name: update}), model, RectConfig(keep=keep)).updates[name].dense()
    change = update.dense()
    ratio = (change / weight(model, name)).abs()
    chosen = found != 0
    assert int(chosen.sum()) == change.numel() - int((1 - keep) * change.numel())
    assert torch.equal(found[chosen], change[chosen])
    if keep < 1:
        assert ratio[chosen].min() >= ratio[~chosen].max()


def test_rect_keeps_a_change_of_a_zero_weight_and_no_change_where_there_is_none() -> None:
    change, original = torch.tensor([0.0, 1e-9, 5.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert kept(change, original, 0.25).tolist() == [0.0, change[1], 0.0, 0.0]


def test_sphere_removes_the_main_directions_and_nothing_else(model: LoadedModel) -> None:
    name, update = change_of(model)
    rows = weight(model, name)
    directions = main_directions(rows, 0.5).float()
    found = sphere(Delta({name: update}), model, SphereConfig(suppression=1)).updates[name]
    assert isinstance(found, LowRankUpdate)
    assert (found.dense() @ directions).norm() <= 1e-5 * update.norm()
    across = torch.eye(len(directions)) - directions @ directions.T
    torch.testing.assert_close(
        found.dense() @ across, update.dense() @ across, rtol=1e-4, atol=1e-4
    )


def test_sphere_damps_dense_changes_as_it_damps_factors(model: LoadedModel) -> None:
    name, update = change_of(model)
    factors, dense = (
        sphere(Delta({name: each}), model, SphereConfig()).updates[name].dense()
        for each in (update, DenseUpdate(update.dense()))
    )
    torch.testing.assert_close(dense, factors, rtol=1e-4, atol=1e-4)
    half = 0.5 * (
        update.dense()
        + sphere(Delta({name: update}), model, SphereConfig(suppression=1)).updates[name].dense()
    )
    torch.testing.assert_close(factors, half, rtol=1e-4, atol=1e-4)


def test_without_suppression_sphere_changes_nothing(model: LoadedModel) -> None:
    name, update = change_of(model)
    found = sphere(Delta({name: update}), model, SphereConfig(suppression=0)).updates[name]
    assert torch.equal(found.dense(), update.dense())


def test_the_main_directions_are_the_fewest_above_the_share() -> None:
    rows = torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0]))[[0, 0, 0, 1, 1, 2]]
    # On the unit sphere three rows are e0, two e1, one e2: the eigenvalues are 3, 2, 1 and 0.
    for share, count in ((0.4, 1), (0.5, 2), (0.6, 2), (0.9, 3), (1.0, 4)):
        found = main_directions(rows, share)
        assert found.shape == (4, count)
        torch.testing.assert_close(found.T @ found, torch.eye(count, dtype=torch.float64))
    assert abs(float(main_directions(rows, 0.4)[0, 0])) == pytest.approx(1)


def test_parameters_that_are_not_matrices_are_left_by_sphere_and_thinned_by_rect() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    name = model.parts.down_weight(1).replace(".weight", ".bias")
    change = DenseUpdate(numbers(len(model.model.get_parameter(name))))
    given = Delta({name: change})
    assert torch.equal(sphere(given, model, SphereConfig()).updates[name].dense(), change.dense())
    thinned = rect(given, model, RectConfig(keep=0.5)).updates[name].dense()
    assert int((thinned != 0).sum()) == len(thinned) - len(thinned) // 2


def test_shares_outside_their_range_are_refused() -> None:
    for config, options in ((RectConfig, {"keep": 0}), (SphereConfig, {"suppression": 2})):
        with pytest.raises(ValidationError):
            config(**options)


@pytest.mark.parametrize("function", ["log", "log2", "log1_5", "log1_2", "linear"])
def test_prune_restrains_what_is_above_the_weights_largest_singular_value(
    model: LoadedModel, function: Any
) -> None:
    name, update = change_of(model)
    limit = float(torch.linalg.svdvals(weight(model, name))[0])
    outputs, _ = torch.linalg.qr(update.outputs)
    inputs, _ = torch.linalg.qr(update.inputs)
    sizes = limit * torch.tensor([20.0, 0.5])
    given = Delta({name: LowRankUpdate(outputs * sizes, inputs)})
    result = prune(given, model, PruneConfig(function=function))
    assert result.diagnostics == {"clipped": 1, "largest_ratio": pytest.approx(20, rel=1e-5)}
    found = result.delta.updates[name]
    assert isinstance(found, LowRankUpdate)
    base = {"log": math.e, "log2": 2, "log1_5": 1.5, "log1_2": 1.2}.get(function)
    large = math.log(20, base) + limit if base else 10.5 * limit
    expected = sorted([large, 0.5 * limit], reverse=True)
    assert torch.linalg.svdvals(found.dense())[:2].tolist() == pytest.approx(expected, rel=1e-4)


def test_small_bases_enlarge_values_just_above_the_limit() -> None:
    values = torch.tensor([1.0, 2.0])
    assert restrained(values, 1.0, "log1_2")[1] > 2
    assert restrained(values, 1.0, "log")[1] < 2
    assert restrained(values, 1.0, "log1_2")[0] == 1
