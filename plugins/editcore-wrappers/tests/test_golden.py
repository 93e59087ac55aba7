"""NAS agrees with the code of its authors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_wrappers.config import NasConfig
from editcore_wrappers.nas import Nas, rescaled
from safetensors.torch import load_file

from editcore import EditContext, EditRequest, ValueOptions, load_registry, resolve_factory
from editcore.toolkit import NormAnchor, Value, find_values, mlp_values
from tests.golden_models import (
    LAYERS,
    WEIGHT,
    assert_close,
    golden_context,
    golden_requests,
    kept,
)

GOLDEN = Path(__file__).parent / "golden"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())
SCENARIOS = {
    "one": [[0]],
    "batch": [[*range(6, 14)]],
    "batch_rho_small": [[*range(6, 14)]],
    "seq": [[*range(4)], [*range(4, 8)], [*range(8, 12)]],
}
ALPHAEDIT = {"layers": LAYERS, "threshold": 0.13, "l2": 10}


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


@pytest.fixture(scope="module")
def requests() -> list[EditRequest]:
    return golden_requests()


@pytest.fixture(scope="module")
def context() -> EditContext:
    return golden_context()


def search() -> ValueOptions:
    config = load_registry().editors["alphaedit"].record.config.model_validate(ALPHAEDIT)
    found = config.value_options()
    assert found is not None
    return found


@pytest.mark.parametrize("probe", EXPECTED["transform"])
def test_values_are_rescaled_or_dropped_as_released(
    probe: str,
    context: EditContext,
    requests: list[EditRequest],
    tensors: dict[str, torch.Tensor],
) -> None:
    """Given h and δ; v₀ is read from the model."""
    cases, asked = EXPECTED["transform_cases"], EXPECTED["transform"][probe]
    given = [
        Value(h, z - h, 20, 0.0)
        for h, z in zip(tensors["transform.h"].T, tensors["transform.z_raw"].T, strict=True)
    ]
    chosen = [requests[case] for case in cases]
    found = rescaled(context.model, chosen, given, search(), rho=asked["rho"], limit=2.0)
    golden = tensors[f"transform.{probe}.z"].T
    dropped = []
    for case, value, expected in zip(cases, found, golden, strict=True):
        assert isinstance(value, Value)
        assert float((value.target - expected).norm()) <= 1e-5 * float(expected.norm())
        dropped += [case] if not value.delta.any() else []
    assert dropped == asked["dropped"]


def test_v_is_what_the_mlp_gives_plus_what_was_added(
    context: EditContext, requests: list[EditRequest], tensors: dict[str, torch.Tensor]
) -> None:
    chosen = [requests[case] for case in EXPECTED["transform_cases"]]
    h, z, v0 = (tensors[f"transform.{name}"].T for name in ("h", "z_raw", "v0"))
    given = [Value(a, b - a, 20, 0.0) for a, b in zip(h, z, strict=True)]
    found = mlp_values(context.model, chosen, given, search())
    torch.testing.assert_close(found, v0 + z - h, rtol=1e-4, atol=1e-5)
    assert found.norm(dim=1).tolist() == pytest.approx(EXPECTED["v_norms"], rel=1e-5)


def test_the_anchor_is_the_released_one(context: EditContext, requests: list[EditRequest]) -> None:
    """Of 28 facts under the bare prompt."""
    swapped = [replace(request, target_new=request.target_true) for request in requests]
    facts = [*requests, *swapped]
    values = find_values(context.model, facts, ("{}",), search())
    sound = [value for value in values if isinstance(value, Value)]
    assert len(sound) == len(facts)
    norms = mlp_values(context.model, facts, sound, search()).double().norm(dim=1)
    golden = [norm for batch in EXPECTED["reference"]["norms"] for norm in batch]
    assert norms.tolist() == pytest.approx(golden, rel=1e-3)
    rho = NormAnchor(norms).mean(0.05)
    assert rho == pytest.approx(EXPECTED["reference"]["rho"], rel=1e-3)
    assert EXPECTED["reference"]["dropped"] == 1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_step_changes_the_weights_as_the_released_code_does(
    scenario: str,
    context: EditContext,
    requests: list[EditRequest],
    tensors: dict[str, torch.Tensor],
) -> None:
    editor, anchored = nas(context, EXPECTED["rho"][f"{scenario}.0"])
    state, total = None, dict.fromkeys(LAYERS, torch.zeros(()))
    with kept(context.model):
        for step, cases in enumerate(SCENARIOS[scenario]):
            result = editor.edit(anchored, [requests[case] for case in cases], state)
            assert result.delta is not None, result.status
            result.delta.add_to(context.model.model)
            state = result.state
            for layer in LAYERS:
                total[layer] = total[layer] + result.delta.updates[WEIGHT.format(layer)].dense()
                name = f"{scenario}.{step}.delta.{WEIGHT.format(layer)}"
                assert_close(total[layer], tensors[f"{name}.left"] @ tensors[f"{name}.right"])


def nas(context: EditContext, rho: float) -> tuple[Nas, EditContext]:
    """NAS around AlphaEdit, and the context with this anchor."""
    info = load_registry().editors["alphaedit"].record
    config = info.config.model_validate(ALPHAEDIT)
    options = NasConfig()
    anchor = NormAnchor(torch.tensor([rho], dtype=torch.float64))
    given = replace(context, anchors={options.anchor(config): anchor})
    return Nas(resolve_factory(info.factory)(config), options), given
