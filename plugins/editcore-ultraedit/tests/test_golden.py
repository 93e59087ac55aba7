"""Changes, running means and deviations agree with the authors' code."""

import json
from pathlib import Path

import pytest
import torch
from editcore_ultraedit.config import UltraEditConfig
from editcore_ultraedit.editor import UltraEditEditor
from safetensors.torch import load_file

from editcore import EditContext
from editcore.toolkit import LoadedModel
from tests.golden_models import assert_close, golden_model, golden_requests, kept

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
WEIGHTS = (
    "model.layers.1.mlp.gate_proj.weight",
    "model.layers.2.mlp.up_proj.weight",
    "model.layers.2.mlp.down_proj.weight",
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return golden_model()


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


@pytest.mark.parametrize("scenario", list(EXPECTED["scenarios"]))
def test_the_change_after_every_turn(
    scenario: str, model: LoadedModel, tensors: dict[str, torch.Tensor]
) -> None:
    turns, chunk = (EXPECTED["scenarios"][scenario][key] for key in ("turns", "chunk"))
    facts = golden_requests()
    editor = UltraEditEditor(
        UltraEditConfig(
            maps={"gate_proj": (1,), "up_proj": (2,), "down": (2,)},
            learning_rate=EXPECTED["learning_rate"],
            released_chunk=chunk,
        )
    )
    unedited = {name: model.model.get_parameter(name).clone() for name in WEIGHTS}
    state = None
    with kept(model):
        for step, turn in enumerate(turns):
            result = editor.edit(EditContext(model), [facts[case] for case in turn], state)
            state = result.state
            result.delta.add_to(model.model)
            for name in WEIGHTS:
                left, right = (
                    tensors[f"{scenario}.{step}.{name}.{side}"] for side in ("left", "right")
                )
                assert_close(model.model.get_parameter(name) - unedited[name], left @ right)
    if scenario == "seq":
        # The authors' code names a shape by its inputs first.
        for shape, theirs in (("96x256", "256x96"), ("256x96", "96x256")):
            deviation = (state[f"{shape}.m2"] / (state[f"{shape}.count"] - 1)).sqrt()
            assert_close(deviation, tensors[f"seq.2.std.{theirs}"])
            assert_close(state[f"{shape}.mean"], tensors[f"seq.2.mean.{theirs}"])
