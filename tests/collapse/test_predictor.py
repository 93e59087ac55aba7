"""The size of a change before it is made: identities with the change itself and with keys."""

import math

import pytest
import torch

from editcore.collapse.predictor import ActivationShift
from editcore.keyvalue import second_moment
from editcore.keyvalue.keys import KeyPair
from editcore.keyvalue.rank_one import solve_rank_one
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import MLP_WIDTH, WIDTH, tiny_model
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

LAYER = 1


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return wrap_model("tiny", *tiny_model(request.param))


@pytest.fixture(scope="module")
def keys() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.1, 3, MLP_WIDTH)
    return torch.randn(500, MLP_WIDTH, generator=generator) * scale


@pytest.fixture(scope="module")
def moment(keys: torch.Tensor) -> second_moment.SecondMoment:
    wide = keys.double()
    return second_moment.SecondMoment.from_matrix(LAYER, wide.T @ wide / len(wide), len(wide))


def low_rank(rank: int = 2) -> LowRankUpdate:
    generator = torch.Generator().manual_seed(1)
    shapes = ((WIDTH, rank), (MLP_WIDTH, rank))
    return LowRankUpdate(*(torch.randn(shape, generator=generator) for shape in shapes))


def test_it_is_the_change_of_outputs_over_the_text(model, keys, moment) -> None:
    name, update = model.parts.down_weight(LAYER), low_rank()
    module = model.parts.down(LAYER)
    plain = module(keys[None])[0] - module(torch.zeros(1, MLP_WIDTH))
    added = keys @ update.dense().T
    found = ActivationShift(model, {LAYER: moment}).of(Delta({name: update}))
    assert found == pytest.approx(float(added.norm() / plain.norm()), rel=1e-4)


def test_factors_give_what_the_matrix_gives(model, moment) -> None:
    name, update = model.parts.down_weight(LAYER), low_rank()
    shift = ActivationShift(model, {LAYER: moment})
    dense = Delta({name: DenseUpdate(update.dense())})
    assert shift.of(Delta({name: update})) == pytest.approx(shift.of(dense), rel=1e-5)


def test_without_moments_it_is_the_relative_change(model) -> None:
    names = [model.parts.down_weight(layer) for layer in (0, 1)]
    delta = Delta(dict.fromkeys(names, low_rank()))
    weights = math.hypot(*(float(model.model.get_parameter(n).norm()) for n in names))
    assert ActivationShift(model).of(delta) == pytest.approx(delta.norm() / weights, rel=1e-5)
    assert ActivationShift(model).of(Delta({})) == 0


def test_a_rank_one_change_shifts_by_numerator_times_usual_over_own_denominator(
    model, keys, moment
) -> None:
    value = torch.ones(WIDTH)
    pair = KeyPair(keys[0], keys[1], torch.zeros(WIDTH))
    edit = solve_rank_one(value, pair, moment)
    delta = Delta({model.parts.down_weight(LAYER): edit.update})
    shift = ActivationShift(model, {LAYER: moment})
    usual = float((keys @ edit.update.inputs[:, 0]).square().mean().sqrt())
    own = shift.of(Delta({model.parts.down_weight(LAYER): low_rank()}))
    unit = shift.of(delta) / (edit.numerator_norm * usual / edit.denominator)
    added = low_rank().dense() @ keys.T
    assert own / unit == pytest.approx(float(added.norm() / math.sqrt(len(keys))), rel=1e-4)
