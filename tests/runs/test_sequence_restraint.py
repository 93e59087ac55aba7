"""A transform of the accumulated change sees the whole sum; only measurements see its result."""

from typing import Any

import pytest
import torch

from editcore import PluginError, TransformConfig
from editcore.editing.transforms import BoundTransform, TransformResult
from editcore.models.loading import LoadedModel, wrap_model
from editcore.runs.sequence.restraint import restrained
from editcore.testing import tiny_model
from editcore.updates.cumulative_delta import accumulating
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate


def bound(function: Any) -> list[BoundTransform]:
    return [BoundTransform("tried", function, TransformConfig(), accumulated=True)]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_measurements_see_the_transformed_sum_and_the_next_edit_does_not(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    name = model.parts.down_weight(1)
    weight = model.model.get_parameter(name)
    unedited = weight.detach().clone()
    seen: list[torch.Tensor] = []

    def halved(delta: Delta, given: LoadedModel, _: TransformConfig) -> Delta:
        seen.append(given.model.get_parameter(name).detach().clone())
        return Delta({n: DenseUpdate(0.5 * u.dense()) for n, u in delta.updates.items()})

    outputs, inputs = torch.ones(32, 1), torch.ones(weight.numel() // 32, 1)
    with accumulating(model) as changes:
        for size in (1.0, 2.0):
            changes.add(Delta({name: LowRankUpdate(size * outputs, inputs)}))
        edited, before = weight.detach().clone(), changes.record()
        with restrained(changes, model, bound(halved)):
            torch.testing.assert_close(weight.detach(), unedited + 1.5)
        assert torch.equal(weight, edited)
        assert changes.record() == before
        (given,) = seen
        torch.testing.assert_close(given, unedited)
        with restrained(changes, model, ()):
            assert torch.equal(weight, edited)
    assert torch.equal(weight, unedited)


def test_numbers_of_such_a_transform_join_those_of_the_step() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    name = model.parts.down_weight(1)
    shape = model.model.get_parameter(name).shape

    def telling(delta: Delta, *_: Any) -> TransformResult:
        return TransformResult(delta, {"clipped": 2.0, "loss": 7.0})

    step = {"loss": 0.1}
    with accumulating(model) as changes:
        with restrained(changes, model, bound(telling), step) as nothing_to_restrain:
            assert nothing_to_restrain == step
        changes.add(Delta({name: DenseUpdate(torch.ones(shape))}))
        with restrained(changes, model, (), step) as alone:
            assert alone == step
        with restrained(changes, model, bound(telling), step) as both:
            assert both == {"loss": 0.1, "clipped": 2.0, "tried.loss": 7.0}


def test_a_transform_that_fails_gives_its_reason_and_leaves_the_weights() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    name = model.parts.down_weight(1)
    weight = model.model.get_parameter(name)

    def failing(*_: Any) -> Delta:
        raise ValueError("no")

    with accumulating(model) as changes:
        changes.add(Delta({name: DenseUpdate(torch.ones(32, weight.shape[1]))}))
        edited = weight.detach().clone()
        with (
            pytest.raises(PluginError, match="transform tried: ValueError: no"),
            restrained(changes, model, bound(failing)),
        ):
            pass
        assert torch.equal(weight, edited)
