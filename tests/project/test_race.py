"""A race against another toolkit's ROME, here a double that computes what the reference does."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.__main__ import main
from benchmarks.race.peer import LAYOUTS, Layout, PeerError, layout_of

MAIN = """
from editcore.config.value_options import ValueOptions
from editcore.editing import reference
from editcore.keyvalue.keys import mixed
from editcore.keyvalue.value import pose
from editcore.models.loading import wrap_model
from editcore.requests import EditRequest

CONTEXT_TEMPLATES_CACHE = None


def execute_rome(model, tok, request, hparams):
    print("what a toolkit prints is not an answer")
    target = request["target_new"]
    fact = EditRequest(
        request["case_id"], request["prompt"], request["subject"],
        target["str"] if isinstance(target, dict) else target, "",
    )
    loaded = wrap_model("peer", model, tok)
    problem = pose(loaded, fact, CONTEXT_TEMPLATES_CACHE)
    options = ValueOptions(
        layer=hparams.layers[0], steps=hparams.v_num_grad_steps, learning_rate=hparams.v_lr,
        weight_decay=hparams.v_weight_decay, clamp_norm_factor=hparams.clamp_norm_factor,
        kl_factor=hparams.kl_factor,
    )
    (name, update), = reference.edit_one(loaded, problem, options, mixed).updates.items()
    assert name == hparams.rewrite_module_tmp.format(hparams.layers[0]) + ".weight"
    return {name: (update.inputs[:, 0], update.outputs[:, 0])}
"""
HPARAMS = """
from dataclasses import dataclass


@dataclass
class ROMEHyperParams:
    layers: list
    v_num_grad_steps: int
    v_lr: float
    v_weight_decay: float
    clamp_norm_factor: float
    kl_factor: float
    rewrite_module_tmp: str
    stats_dir: str
    max_length: int = 40
"""


def toolkit(folder: Path, layout: Layout, main_module: str = MAIN) -> Path:
    """A folder with a double of a toolkit; importing the packages around ROME would fail."""
    rome = folder / layout.file.parent
    rome.mkdir(parents=True)
    for package in layout.packages:
        (folder.joinpath(*package.split(".")) / "__init__.py").write_text("import not_installed")
    (rome / "__init__.py").write_text("")
    (rome / "rome_main.py").write_text(main_module)
    (rome / "rome_hparams.py").write_text(HPARAMS)
    return folder


def race(folder: Path, *more: str) -> Result:
    few = ["--model", "tiny-gpt2", "--layer", "2", "--rounds", "1", "--cases", "2", "--texts", "2"]
    return CliRunner().invoke(main, ["race", "--peer", str(folder), *few, *more])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_both_sides_run_and_agree(layout: Layout, tmp_path: Path) -> None:
    out = tmp_path / "race.json"
    result = race(toolkit(tmp_path / "code", layout), "--json", str(out), "--threads", "1")
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["peer"] == layout.name
    assert found["agreement"]["largest 1 - cosine of updates"] < 1e-4
    assert found["agreement"]["largest relative difference of perplexity"] < 1e-3
    for ratio in ("edits and perplexity", "edits alone", "whole process"):
        numbers = found[f"ratio, {ratio}"]
        assert 0 < numbers["least"] <= numbers["median"] <= numbers["most"]
    assert min(found["peak memory, MB"].values()) > 100


def test_a_folder_without_a_known_rome_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="has neither") as refused:
        layout_of(tmp_path)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import not_installed", "No module named 'not_installed'; install what it needs"),
        ("def execute_rome(): ...", "has no CONTEXT_TEMPLATES_CACHE"),
    ],
)
def test_the_peer_s_failure_is_told(code: str, reason: str, tmp_path: Path) -> None:
    result = race(toolkit(tmp_path, LAYOUTS[1], code), "--threads", "1")
    assert result.exit_code != 0
    assert reason in result.output
