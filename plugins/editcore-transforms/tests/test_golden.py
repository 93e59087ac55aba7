"""Transformed changes agree with published code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_transforms.config import PruneConfig, RectConfig, SphereConfig
from editcore_transforms.prune import prune
from editcore_transforms.rect import rect
from editcore_transforms.sphere import sphere
from safetensors.torch import load_file

from editcore.toolkit import Delta, LoadedModel, LowRankUpdate
from tests.golden_models import WEIGHT, assert_close, golden_model

GOLDEN = Path(__file__).parent / "golden"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return golden_model()


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return load_file(GOLDEN / "expected.safetensors")


def sparse(tensors: Tensors, name: str) -> torch.Tensor:
    dense = torch.zeros(96 * 256)
    dense[tensors[f"{name}.places"].long()] = tensors[f"{name}.numbers"]
    return dense


@pytest.mark.parametrize(
    ("keep", "name", "left", "right", "further"),
    [(0.2, "rect.rome", "v", "u", 0), (0.4, "rect.memit", "resid", "adj_k", 1)],
)
def test_rect(
    keep: float,
    name: str,
    left: str,
    right: str,
    further: int,
    model: LoadedModel,
    tensors: Tensors,
) -> None:
    outputs = tensors[f"{name}.{left}"].reshape(96, -1)
    inputs = tensors[f"{name}.{right}"].reshape(256, -1)
    change = Delta({WEIGHT.format(2): LowRankUpdate(outputs, inputs)})
    found = rect(change, model, RectConfig(keep=keep)).updates[WEIGHT.format(2)].dense()
    golden = sparse(tensors, f"{name}.out")
    assert_close(found, golden)
    # AlphaEdit's copy keeps the number at its limit, too.
    assert int((golden != 0).sum()) - int((found != 0).sum()) == further
    assert not (found.flatten()[golden == 0]).any()


@pytest.mark.parametrize("layer", [1, 2])
def test_sphere(layer: int, model: LoadedModel, tensors: Tensors) -> None:
    given, golden = (
        (tensors[f"sphere.{x}.{layer}.left"], tensors[f"sphere.{x}.{layer}.right"])
        for x in ("in", "out")
    )
    change = Delta({WEIGHT.format(layer): LowRankUpdate(given[0], given[1].T.contiguous())})
    found = sphere(change, model, SphereConfig()).updates[WEIGHT.format(layer)].dense()
    assert_close(found, golden[0] @ golden[1])
    assert float((found - golden[0] @ golden[1]).norm()) <= 1e-5 * float(found.norm())


@pytest.mark.parametrize("function", ["log", "log2", "log1_5", "log1_2", "linear"])
def test_prune(function: Any, model: LoadedModel) -> None:
    """The sum of 14 golden ROME updates."""
    tensors = load_file(GOLDEN / "prune.safetensors")
    outputs, inputs = tensors["prune.rome14.in.left"], tensors["prune.rome14.in.right"].T
    change = Delta({WEIGHT.format(2): LowRankUpdate(outputs, inputs.contiguous())})
    found = prune(change, model, PruneConfig(function=function)).delta.updates[WEIGHT.format(2)]
    left, right = (tensors[f"prune.rome14.{function}.out.{side}"] for side in ("left", "right"))
    golden = left @ right
    assert_close(found.dense(), golden)
    assert float((found.dense() - golden).norm()) <= 1e-5 * float(golden.norm())
