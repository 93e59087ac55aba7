"""`editcore measure`: models that other code changed, measured against their bases."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from editcore.cli import main
from editcore.testing.models import save_tiny_model
from tests.edited_models import Tensors, added, edited_copy
from tests.studies import TEXTS, record, write_config, write_json

ModelSaver = Callable[..., Path]
DOWN = "transformer.h.{}.mlp.c_proj.weight"
TASK = "world_fact_choices"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, saved_model: ModelSaver) -> Path:
    """A study of a random model, with facts and a shared cache."""
    folder = tmp_path_factory.mktemp("measure")
    texts = str(write_json(folder / "texts.json", TEXTS))
    facts = [record(i, subject) for i, subject in enumerate(("Coral", "Tavel"))]
    write_json(folder / "facts.json", [*facts, record(7, "Harbor") | {"target_new": ""}])
    study = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 3}}},
        "datasets": {"facts": {"path": str(folder / "facts.json")}},
        "perplexity": {"path": texts, "texts": 4},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": texts, "tokens": 500},
        "downstream": {"tasks": [TASK], "limit": 5},
        "collapse": {"ratio": 2.0},
    }
    write_config(folder / "study.yaml", study)
    return folder


def run(folder: Path, model: object, *more: str, against: object = "random") -> Result:
    places = ["--config", str(folder / "study.yaml"), "--cache", str(folder / "cache")]
    named = ["--model", str(model), "--against", str(against)]
    return CliRunner().invoke(main, ["measure", *named, *places, *more])


def report(folder: Path, model: object, *more: str, status: int = 0) -> dict[str, Any]:
    done = run(folder, model, "--json", *more)
    assert done.exit_code == status, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_edited_model_is_measured_as_the_edit_was(folder: Path, tmp_path: Path) -> None:
    """What `check` measured of an edit, `measure` measures of the model that `apply` wrote."""
    fact = ["--prompt", "{} is made by", "--subject", "Coral", "--target", "Osdor"]
    fact += ["--paraphrase", "The maker of Coral is", "--neighbour", "The sea is=quiet"]
    study = ["--config", str(folder / "study.yaml"), "--cache", str(folder / "cache")]
    made = ["check", *fact, "--model", "random", "--editor", "rome", *study, "--json"]
    checked = CliRunner().invoke(main, [*made, "--save", str(tmp_path / "edit")])
    row = json.loads(checked.stdout)
    source = load_source(folder)
    copied = ["apply", str(tmp_path / "edit"), str(source), "--out", str(tmp_path / "edited")]
    assert CliRunner().invoke(main, copied).exit_code == 0
    facts = str(folder / "facts.json")
    found = report(folder, tmp_path / "edited", "--facts", facts, status=checked.exit_code % 4)
    one, *_ = found["facts"]["each"]
    for name in ("perplexity", "perplexity_base", "kl_mean", "kl_upper", "top1_kept"):
        assert found[name] == pytest.approx(row[name], rel=1e-4, abs=1e-6), name
    assert found["grade"] == row["grade"]
    for name, value in one["edited"].items():
        assert value == row[name], name
    (changed,) = [weight for weight in found["weights"] if weight["changed"]]
    assert changed["name"] == DOWN.format(1)
    assert changed["norm"] == pytest.approx(row["delta_norm"], rel=1e-4)
    assert changed["rank"] == 1
    assert found["shape"].startswith("RANK ONE: the only change is of rank one, in the down-proj")


def load_source(folder: Path) -> Path:
    from editcore.config.study import load

    source = load(folder / "study.yaml").models["random"].source
    assert source is not None
    return Path(source)


def test_a_model_against_itself_is_sound(folder: Path, saved_model: ModelSaver) -> None:
    facts = ["--facts", str(folder / "facts.json")]
    found = report(folder, saved_model("gpt2"), *facts)
    assert found["shape"] == "NO CHANGE: no weight differs."
    assert (found["verdict"], found["top1_kept"]) == ("sound", 1.0)
    assert found["perplexity"] == pytest.approx(found["perplexity_base"], rel=1e-6)
    assert found["kl_mean"] == pytest.approx(0.0, abs=1e-6)
    one, two, flawed = found["facts"]["each"]
    assert one["base"] == one["edited"]
    assert two["edited"]["locality"] == 1.0
    assert flawed["edited"] is None
    assert "target_new" in flawed["status"]
    assert (
        found["facts"]["edited"]["efficacy"]
        == (one["edited"]["efficacy"] + two["edited"]["efficacy"]) / 2
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_ruined_model_has_status_3(
    dtype: torch.dtype, folder: Path, saved_model: ModelSaver, tmp_path: Path
) -> None:
    change = added([DOWN.format(layer) for layer in (0, 1)], 1, 300.0)
    edited = edited_copy(saved_model("gpt2"), tmp_path / "edited", change, dtype)
    done = run(folder, edited, "--facts", str(folder / "facts.json"))
    assert done.exit_code == 3, done.output
    words = " ".join(done.stdout.split())
    assert "LOW RANK IN 2 LAYERS: the down-projection of layers 0 and 1 changed by rank 1." in words
    assert "DAMAGED: perplexity " in words or "COLLAPSED: perplexity " in words
    assert "| transformer.h.1.mlp.c_proj.weight |" in words
    assert "| mean of 2 " in words
    assert "case 7 was not asked: " in words
    kind = {torch.float32: "F32", torch.bfloat16: "BF16"}[dtype]
    assert f"edited stored as {kind}" in words


def test_weights_that_are_not_finite_are_a_collapse(
    folder: Path, saved_model: ModelSaver, tmp_path: Path
) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[DOWN.format(1)][3, :2] = float("nan")

    edited = edited_copy(saved_model("gpt2"), tmp_path / "edited", spoil)
    done = run(folder, edited, "--facts", str(folder / "facts.json"))
    assert done.exit_code == 3, done.output
    words = " ".join(done.stdout.split())
    assert f"NOT FINITE: 2 numbers of {DOWN.format(1)} are infinite or NaN." in words
    assert "COLLAPSED: weights that are not finite make no predictions." in words
    found = report(folder, edited, status=3)
    assert (found["verdict"], found["facts"]["edited"]) == ("collapsed", None)


def test_both_are_scored_in_the_study_s_tasks(
    folder: Path, saved_model: ModelSaver, tmp_path: Path
) -> None:
    change = added([DOWN.format(layer) for layer in range(3)], None, 30.0)
    edited = edited_copy(saved_model("gpt2"), tmp_path / "edited", change)
    (ruined,) = report(folder, edited, "--tasks", status=3)["tasks"]
    (itself,) = report(folder, saved_model("gpt2"), "--tasks", TASK)["tasks"]
    assert ruined["task"] == itself["task"] == TASK
    assert itself["base"] == itself["edited"] == ruined["base"]
    assert itself["n_items"] == 5
    assert ruined["edited"] is not None


def test_other_settings_are_noted(folder: Path, saved_model: ModelSaver, tmp_path: Path) -> None:
    edited = Path(shutil.copytree(saved_model("gpt2"), tmp_path / "edited"))
    config = json.loads((edited / "config.json").read_text())
    write_json(edited / "config.json", config | {"layer_norm_epsilon": 0.5, "use_cache": False})
    (note,) = report(folder, edited, status=3)["notes"]
    assert "differ in their config.json: layer_norm_epsilon (1e-05 in " in note
    assert "use_cache" not in note


def test_two_models_that_are_not_one_are_refused(
    folder: Path, saved_model: ModelSaver, tmp_path: Path
) -> None:
    deeper = save_tiny_model("gpt2", tmp_path / "deeper", n_layer=4)
    other = Path(shutil.copytree(saved_model("gpt2"), tmp_path / "other"))
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    write_json(other / "tokenizer.json", tokenizer)
    wrong = {
        saved_model("llama"): "'llama' and 'gpt2' as model_type",
        deeper: "4 and 3 as n_layer",
        other: "differ in 4 tokens, such as 'a' with the number ",
    }
    for model, words in wrong.items():
        done = run(folder, model)
        assert done.exit_code == 2, done.output
        assert words in done.output


def test_a_fine_tuned_bundled_model_is_measured_as_a_user_would(tmp_path: Path) -> None:
    from editcore.datasets.bundled import bundled_models

    base = bundled_models()["tiny-gpt2"]
    names = [name for name in load_file(base / "model.safetensors") if name.endswith("weight")]
    edited = edited_copy(base, tmp_path / "tuned", added(names, None, 1e-3))
    chosen = ["--model", str(edited), "--against", "tiny-gpt2", "--cache", str(tmp_path / "cache")]
    done = CliRunner().invoke(main, ["measure", *chosen])
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert f"{edited} against tiny-gpt2 DENSE EVERYWHERE: " in words
    assert "SOUND: perplexity 1.66 → 1.66 (×1.00;" in words
    assert "The edit disturbs the model less than rounding its weights to 8 bits." in words
    assert "more weights; --json has all of them." in words
    assert "30 texts of resources/world/perplexity.json; float32 (tiny-gpt2 stored as F32" in words
