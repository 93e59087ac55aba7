"""Changes, running means and deviations agree with the authors' code."""

import json
from pathlib import Path

import pytest
import torch
from editcore_ultraedit.config import UltraEditConfig
from editcore_ultraedit.editor import UltraEditEditor
from safetensors.torch import load_file

from editcore import EditContext, EditRequest
from editcore.toolkit import Delta, LoadedModel, load_model

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "editcore-rome" / "tests" / "golden" / "llama"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
WEIGHTS = (
    "model.layers.1.mlp.gate_proj.weight",
    "model.layers.2.mlp.up_proj.weight",
    "model.layers.2.mlp.down_proj.weight",
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("golden", str(SHARED / "model"))


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


def assert_close(found: torch.Tensor, golden: torch.Tensor) -> None:
    cosine = torch.cosine_similarity(found.double().flatten(), golden.double().flatten(), 0)
    assert cosine >= 0.9999
    assert float(found.norm()) == pytest.approx(float(golden.norm()), rel=1e-3)


@pytest.mark.parametrize("scenario", list(EXPECTED["scenarios"]))
def test_the_change_after_every_turn(
    scenario: str, model: LoadedModel, tensors: dict[str, torch.Tensor]
) -> None:
    turns, chunk = (EXPECTED["scenarios"][scenario][key] for key in ("turns", "chunk"))
    cases = json.loads((SHARED / "expected.json").read_text())["cases"]
    asked = ("prompt", "subject", "target_new", "target_true")
    editor = UltraEditEditor(
        UltraEditConfig(
            maps={"gate_proj": (1,), "up_proj": (2,), "down": (2,)},
            learning_rate=EXPECTED["learning_rate"],
            released_chunk=chunk,
        )
    )
    unedited = {name: model.model.get_parameter(name).clone() for name in WEIGHTS}
    deltas: list[Delta] = []
    state = None
    try:
        for step, turn in enumerate(turns):
            requests = [EditRequest(i, *(cases[i][key] for key in asked)) for i in turn]
            result = editor.edit(EditContext(model), requests, state)
            state = result.state
            deltas.append(result.delta)
            result.delta.add_to(model.model)
            for name in WEIGHTS:
                factors = (
                    tensors[f"{scenario}.{step}.{name}.{side}"] for side in ("left", "right")
                )
                left, right = factors
                assert_close(model.model.get_parameter(name) - unedited[name], left @ right)
    finally:
        with torch.no_grad():
            for name, weight in unedited.items():
                model.model.get_parameter(name).copy_(weight)
    if scenario == "seq":
        # The authors' code names a shape by its inputs first.
        for shape, theirs in (("96x256", "256x96"), ("256x96", "96x256")):
            deviation = (state[f"{shape}.m2"] / (state[f"{shape}.count"] - 1)).sqrt()
            assert_close(deviation, tensors[f"seq.2.std.{theirs}"])
            assert_close(state[f"{shape}.mean"], tensors[f"seq.2.mean.{theirs}"])
