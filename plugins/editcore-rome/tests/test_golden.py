"""The three variants agree with the papers' released code, on two kinds of model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_rome.config import CRomeConfig, RomeConfig
from editcore_rome.editor import RomeEditor
from safetensors.torch import load_file

from editcore import EditContext, EditRequest, EditResult, load_registry, resolve_factory
from editcore.toolkit import (
    ContextPrefixes,
    LowRankUpdate,
    SecondMoment,
    load_model,
)

GOLDEN = Path(__file__).parent / "golden"
LAYER = 2
VARIANTS = {
    "rome": RomeConfig(layer=LAYER),
    "rome_nocov": RomeConfig(layer=LAYER, second_moment=False),
    "crome": CRomeConfig(layer=LAYER),
}


def edited(
    context: EditContext, config: RomeConfig, requests: list[EditRequest]
) -> list[EditResult]:
    """The editor's results, with the key strategy of its options."""
    found = load_registry().key_strategies[config.key_strategy].record.factory
    keyed = replace(context, key_strategy=resolve_factory(found))
    return list(RomeEditor(config).edit_each(keyed, requests))


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request) -> Path:
    return GOLDEN / request.param


@pytest.fixture(scope="module")
def expected(folder) -> dict[str, Any]:
    return json.loads((folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def tensors(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "expected.safetensors")


@pytest.fixture(scope="module")
def context(folder, expected, tensors) -> EditContext:
    prefixes = ContextPrefixes(tuple(expected["prefixes"]), "golden", 0)
    moments = {LAYER: SecondMoment.from_matrix(LAYER, tensors["cov.2"], 0)}
    return EditContext(load_model("golden", str(folder / "model")), prefixes, moments)


@pytest.fixture(scope="module")
def results(context, expected) -> dict[str, list[EditResult]]:
    requests = [
        EditRequest(i, case["prompt"], case["subject"], case["target_new"], case["target_true"])
        for i, case in enumerate(expected["cases"])
    ]
    return {name: edited(context, config, requests) for name, config in VARIANTS.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_directions(variant: str, results, tensors) -> None:
    for case, result in enumerate(results[variant]):
        (update,) = result.delta.updates.values()
        assert isinstance(update, LowRankUpdate)
        for side, name in ((update.inputs, "u"), (update.outputs, "v")):
            found, golden = side[:, 0].double(), tensors[f"{case}.{variant}.{name}"].double()
            assert torch.cosine_similarity(found, golden, 0) >= 1 - 1e-8, (case, name)
            assert float(found.norm()) == pytest.approx(float(golden.norm()), rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_numerators_denominators_and_steps(variant: str, results, expected) -> None:
    for result, case in zip(results[variant], expected["cases"], strict=True):
        found, golden = result.diagnostics, case[variant]
        assert found["numerator_norm"] == pytest.approx(golden["numerator_norm"], rel=1e-4)
        assert found["denominator"] == pytest.approx(golden["abs_denominator"], rel=1e-4)
        assert found["steps"] == golden["steps"]


def test_a_case_alone_gets_what_it_gets_in_the_batch(context, results, expected) -> None:
    case = expected["cases"][3]
    request = EditRequest(3, case["prompt"], case["subject"], case["target_new"], "")
    (alone,) = edited(context, VARIANTS["rome"], [request])
    (one,), (other,) = (r.delta.updates.values() for r in (alone, results["rome"][3]))
    torch.testing.assert_close(one.outputs, other.outputs, rtol=1e-3, atol=1e-4)
