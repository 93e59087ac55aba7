"""The tuned matrix and every mini-batch's loss agree with the authors' code."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_locft.config import LocftConfig
from editcore_locft.tuning import Tuned, tune
from safetensors.torch import load_file

from editcore.toolkit import LoadedModel, target_row
from tests.golden_models import golden_model, golden_requests

GOLDEN = Path(__file__).parent / "golden"
STEPS = json.loads((GOLDEN / "expected.json").read_text())["steps"]
WEIGHT = "model.layers.2.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return golden_model()


def tuned(model: LoadedModel, step: dict[str, Any]) -> Tuned:
    requests = golden_requests()
    facts = [
        target_row(model, requests[i].text, requests[i].target_new, end_of_text=True)
        for i in step["cases"]
    ]
    config = LocftConfig(
        layer=2,
        tuned="down" if step["rewrite_module"] == WEIGHT else "block",
        epochs=step["num_steps"],
        batch_size=step["batch_size"],
        learning_rate=step["lr"],
    )
    orders = [[step["cases"].index(case) for case in order] for order in step["orders"]]
    return tune(model, facts, config, orders)


@pytest.mark.parametrize("name", list(STEPS))
def test_the_change_is_that_of_the_authors_code(name: str, model: LoadedModel) -> None:
    step = STEPS[name]
    found = tuned(model, step)
    assert found.changes.keys() == step["delta_norm"].keys()
    for parameter, norm in step["delta_norm"].items():
        assert float(found.changes[parameter].norm()) == pytest.approx(norm, rel=1e-3)
    expected = load_file(GOLDEN / "expected.safetensors")[name].flatten()
    cosine = torch.cosine_similarity(found.changes[WEIGHT].flatten(), expected, 0)
    assert cosine >= 0.9999
    assert found.steps == len(step["batch_losses"])
    batches = -(-len(step["cases"]) // step["batch_size"])
    last = step["batch_losses"][-batches:]
    weights = [
        min(step["batch_size"], len(step["cases"]) - i * step["batch_size"]) for i in range(batches)
    ]
    mean = sum(loss * weight for loss, weight in zip(last, weights, strict=True)) / sum(weights)
    # The authors' code adds a padding token to the vocabulary of 2,048, and so to the softmax.
    assert found.loss == pytest.approx(mean, abs=5e-4)
