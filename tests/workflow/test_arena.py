"""The studies that compare all editors: they plan, and leave no editor out."""

from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from editcore.cli import main
from editcore.registry.registry import load_registry
from tests.smollm2 import fetched
from tests.workflow.conftest import ROOT

CONTROLS = {"noop", "ft-unconstrained"}  # what an editor is compared with elsewhere
TINY = ("tiny-gpt2", "tiny-llama")


@pytest.fixture(scope="module")
def arena() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "config" / "arena.yaml").read_text(encoding="utf-8")))


def planned(name: str) -> str:
    result = CliRunner().invoke(main, ["plan", str(ROOT / "config" / name), "--check"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_has_every_editor_transform_and_wrapper(arena: dict[str, Any]) -> None:
    registry = load_registry()
    editors = {label: entry.get("uses", label) for label, entry in arena["editors"].items()}
    transforms = {
        each["uses"] for entry in arena["editors"].values() for each in entry.get("transforms", ())
    }
    assert {*editors.values()} == {*registry.editors} - CONTROLS
    assert transforms == {*registry.transforms}
    assert len({*editors.values()}) >= 18
    assert len(transforms) >= 6


def test_each_edits_both_bundled_models_and_a_real_one_unless_it_is_trained(
    arena: dict[str, Any],
) -> None:
    fetched()
    found = planned("arena.yaml")
    for label in arena["editors"]:
        for model in TINY:
            assert f"{model} / {label} / normal: 64 cases" in found
        assert (f"smollm2 / {label} / real: 3 cases" in found) == (label not in ("mend", "malmen"))
    assert "sequences of 64 edits" in found


def test_all_its_cases_are_of_the_half_that_options_were_not_chosen_on(
    arena: dict[str, Any],
) -> None:
    long = yaml.safe_load((ROOT / "config" / "arena-sequence.yaml").read_text(encoding="utf-8"))
    for study in (arena, long):
        assert {dataset["split"] for dataset in study["datasets"].values()} == {"reported"}


def test_the_long_sequences_have_the_arenas_options(arena: dict[str, Any]) -> None:
    long = yaml.safe_load((ROOT / "config" / "arena-sequence.yaml").read_text(encoding="utf-8"))
    for label, entry in long["editors"].items():
        assert entry["options"] == arena["editors"][label]["options"]
    assert f"{len(long['editors'])} sequences of 1000 edits" in planned("arena-sequence.yaml")


def test_the_streams_have_the_arenas_options(arena: dict[str, Any]) -> None:
    for name in ("streams", "streams-smollm2"):
        study = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
        for label, entry in study["editors"].items():
            for model in study["models"]:
                ours, theirs = (_options(each, model) for each in (entry, arena["editors"][label]))
                assert ours == theirs, (name, label, model)


def _options(editor: dict[str, Any], model: str) -> dict[str, Any]:
    options: dict[str, Any] = editor["options"] | editor.get("options_by_model", {}).get(model, {})
    return options
