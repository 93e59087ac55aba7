"""Single and batched edits agree with the published study's code."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from safetensors.torch import load_file

from editcore import EditContext
from editcore.toolkit import ContextPrefixes, Delta, SecondMoment
from tests.golden_models import ROME, golden_model, golden_requests

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = {
    "llama": "model.layers.{}.mlp.down_proj.weight",
    "gpt2": "transformer.h.{}.mlp.c_proj.weight",
}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def family(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def expected(family) -> dict[str, Any]:
    return json.loads((GOLDEN / family / "expected.json").read_text())


@pytest.fixture(scope="module")
def tensors(family) -> dict[str, torch.Tensor]:
    shared = load_file(ROME / family / "expected.safetensors")
    return {"cov.2": shared["cov.2"], **load_file(GOLDEN / family / "expected.safetensors")}


@pytest.fixture(scope="module")
def changes(family, expected, tensors) -> dict[str, Delta]:
    bare, sampled = expected["prefixes"]
    context = EditContext(
        golden_model(family),
        ContextPrefixes((*bare, *sampled), "golden", 0),
        {
            layer: SecondMoment.from_matrix(layer, tensors[f"cov.{layer}"], 0)
            for layer in expected["layers"]
        },
    )
    requests = golden_requests(family)
    editor = MemitEditor(
        MemitConfig(layers=expected["layers"], moment_weight=expected["moment_weight"])
    )
    return {
        name: editor.edit(context, [requests[i] for i in numbers]).delta
        for name, numbers in expected["edits"].items()
    }


@pytest.mark.parametrize("edit", ["one", "batch"])
@pytest.mark.parametrize("layer", [1, 2])
def test_updates(edit: str, layer: int, family: str, changes, tensors) -> None:
    update = changes[edit].updates[WEIGHTS[family].format(layer)]
    keys, shares = (tensors[f"{edit}.{layer}.{part}"] for part in ("adj_k", "resid"))
    golden, found = (shares @ keys.T).flatten(), update.dense().double().flatten()
    assert torch.cosine_similarity(found, golden, 0) >= 1 - 1e-8
    assert float(found.norm()) == pytest.approx(float(golden.norm()), rel=1e-4)
    for side, other in ((update.inputs, keys), (update.outputs, shares)):
        assert torch.cosine_similarity(side.double(), other.double(), 0).min() >= 1 - 1e-8
