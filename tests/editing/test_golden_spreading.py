"""Editors of MEMIT's family agree with the code that their authors released.

The vectors are of the small Llama model of editcore-rome's golden vectors; golden/README.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from editcore.config.value_options import ValueOptions
from editcore.editing.editor import EditContext
from editcore.editing.session import make_editor
from editcore.editing.spreading import SpreadingEditor
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_search import find_values
from editcore.registry.registry import load_registry
from editcore.requests import EditRequest
from editcore.updates.delta import Delta
from tests.golden_models import (
    LAYERS,
    WEIGHT,
    assert_close,
    golden_context,
    golden_requests,
    kept,
)

VECTORS = Path(__file__).parent / "golden" / "spreading"
SEQUENCE = [[*range(4)], [*range(4, 8)], [*range(8, 12)]]
BATCH = [[*range(6, 14)]]
SCENARIOS = {"one": [[0]], "batch": BATCH, "seq": SEQUENCE}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "memit-seq": {"moment_weight": 50},
    "alphaedit": {"threshold": 0.13, "l2": 10},
    "encore": {"moment_weight": 50, "norm_weight": 20, "agreement_steps": 2},
    "betaedit": {"threshold": 0.13, "moment_weight": 5, "l2": 10, "renew_every": 4},
    "emmet": {"moment_weight": 50, "ridge": 0.1},
    "pmet": {"moment_weight": 50, "clamp_norm_factor": 0.75},
    # Its released code leaves its loop of three rounds before the last one writes.
    "nse": {"moment_weight": 50, "near": 0.5, "far": 1000, "neuron_share": 0.8, "rounds": 2},
}
ENCORE = ValueOptions(
    layer=2,
    site="block",
    steps=25,
    stop_loss=0.05,
    agreement_steps=2,
    agreement="released",
)
# By the editor and the name of a scenario: its steps, and further options.
STEPS: Mapping[tuple[str, str], tuple[list[list[int]], Mapping[str, Any]]] = {
    **{(editor, name): (steps, {}) for editor in OPTIONS for name, steps in SCENARIOS.items()},
    ("emmet", "batch_two_layers"): (BATCH, {}),
    ("emmet", "batch_norm10"): (BATCH, {"norm_weight": 10}),
}
# Its released code computes C's part of the projector and of the solve in float32 (1.6e-5).
TOLERANCE = {"betaedit": 3e-5}
PARAMETERS = [pair for pair in STEPS if pair not in {("emmet", "seq"), ("pmet", "seq")}]
IN_ONE_ROUND = [pair for pair in PARAMETERS if pair[0] != "nse"]


@pytest.fixture(scope="module")
def context() -> EditContext:
    return golden_context()


@pytest.fixture(scope="module")
def requests() -> list[EditRequest]:
    return golden_requests()


class Vectors:
    """The vectors of one editor in one scenario."""

    def __init__(self, editor: str, scenario: str) -> None:
        self._tensors = load_file(VECTORS / f"{editor.replace('-', '_')}.safetensors")
        self._scenario = scenario

    def __getitem__(self, key: str) -> torch.Tensor:
        """In float64."""
        return self._tensors[f"{self._scenario}.{key}"].double()

    @property
    def layers(self) -> list[int]:
        """The edited layers."""
        first = f"{self._scenario}.0.delta.{WEIGHT}.left"
        return [layer for layer in LAYERS if first.format(layer) in self._tensors]

    def since_the_start(self, step: int, layer: int) -> torch.Tensor:
        """The change of a layer's weight up to a step."""
        name = f"{step}.delta.{WEIGHT.format(layer)}"
        return self[f"{name}.left"] @ self[f"{name}.right"]

    def change(self, step: int, layer: int) -> torch.Tensor:
        """The change of a layer's weight in a step."""
        whole = self.since_the_start(step, layer)
        return whole - self.since_the_start(step - 1, layer) if step else whole


def made(editor: str, scenario: str, layers: Sequence[int]) -> SpreadingEditor[Any]:
    info = load_registry().editors[editor].record
    options = {"layers": layers, **OPTIONS[editor], **STEPS[editor, scenario][1]}
    config = info.config.model_validate(options)
    found = make_editor(info, config)
    assert isinstance(found, SpreadingEditor)
    return found


def close(found: torch.Tensor, expected: torch.Tensor, relative: float) -> bool:
    return float((found.double() - expected).norm() / expected.norm()) < relative


@pytest.mark.parametrize(("editor", "scenario"), PARAMETERS)
def test_each_step_changes_the_weights_as_the_released_code_does(
    editor: str, scenario: str, context: EditContext, requests: list[EditRequest]
) -> None:
    vectors = Vectors(editor, scenario)
    editing, state = made(editor, scenario, vectors.layers), None
    total = dict.fromkeys(vectors.layers, torch.zeros(()))
    with kept(context.model):
        for step, cases in enumerate(STEPS[editor, scenario][0]):
            result = editing.edit(context, [requests[case] for case in cases], state)
            assert isinstance(result.delta, Delta), result.status
            result.delta.add_to(context.model.model)
            state = result.state
            for layer in vectors.layers:
                total[layer] = total[layer] + result.delta.updates[WEIGHT.format(layer)].dense()
                assert_close(total[layer], vectors.since_the_start(step, layer))


@pytest.mark.parametrize(("editor", "scenario"), IN_ONE_ROUND)
def test_given_keys_and_residuals_a_layers_change_is_the_released_one(
    editor: str, scenario: str, context: EditContext
) -> None:
    vectors = Vectors(editor, scenario)
    editing, state = made(editor, scenario, vectors.layers), None
    for step in range(len(STEPS[editor, scenario][0])):
        solve = editing.solver(context, state)
        keys = {layer: vectors[f"{step}.K.{layer}"].float() for layer in vectors.layers}
        updates = {}
        for layer, found in keys.items():
            update = solve(layer, vectors[f"{step}.R.{layer}"].float(), found)
            updates[WEIGHT.format(layer)] = update
            assert close(update.dense(), vectors.change(step, layer), TOLERANCE.get(editor, 1e-5))
        state = editing.remember(context, state, Delta(updates), keys)


def test_given_keys_and_residuals_the_rounds_of_nse_add_up_to_the_released_change(
    context: EditContext,
) -> None:
    vectors = Vectors("nse", "batch")
    solve = made("nse", "batch", LAYERS).solver(context, None)
    for layer in LAYERS:
        total = torch.zeros(())
        for number in (0, 1):
            shares, keys = (vectors[f"0.round{number}.{part}.{layer}"].float() for part in "RK")
            total = total + solve(layer, shares, keys).dense()
        assert close(total, vectors.change(0, layer), 1e-5)


SEARCHES: Mapping[str, Mapping[str, Any]] = json.loads((VECTORS / "encore_search.json").read_text())


@pytest.mark.parametrize("name", SEARCHES)
def test_encores_search_stops_where_the_released_code_does(
    name: str, context: EditContext, requests: list[EditRequest]
) -> None:
    asked = SEARCHES[name]
    request = replace(requests[asked["case"]], prompt=asked["prompt"], target_new=asked["target"])
    assert context.prefixes is not None
    value = find_values(context.model, [request], context.prefixes.templates, ENCORE)[0]
    assert isinstance(value, Value)
    assert value.steps == asked["steps"]
    assert_close(value.target, load_file(VECTORS / "encore_search.safetensors")[name])


@pytest.mark.parametrize("case", [0, 1, 2, 6, 8, 10])
def test_pmets_search_ends_at_the_released_output(
    case: int, context: EditContext, requests: list[EditRequest]
) -> None:
    """Of targets that become the likeliest, the loss then weighs a tenth (cases 6, 8 and 10)."""
    golden = load_file(VECTORS / "pmet_search.safetensors")[f"{case}.end"]
    asked = SEARCHES[f"{case}.end"]
    request = replace(requests[case], prompt=asked["prompt"], target_new=asked["target"])
    info = load_registry().editors["pmet"].record
    options = {"layers": LAYERS, "clamp_norm_factor": 4, "steps": 25, "stop_kl": 0}
    editing = make_editor(info, info.config.model_validate(options))
    assert isinstance(editing, SpreadingEditor) and context.prefixes is not None
    (value,) = editing.values(context, [request])
    assert isinstance(value, Value)
    assert value.steps == 25
    assert_close(value.target, golden)
