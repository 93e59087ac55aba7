"""Layers that are not given follow from the model's depth; given ones are kept."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from editcore import EditorConfig, published_layer
from editcore.cli import main
from editcore.config.study import DatasetSection
from editcore.errors import PluginError
from editcore.registry.registry import load_registry
from editcore.runs.adhoc.layer_choice import with_layers
from editcore.runs.prepare import Choice, study_for

ModelSaver = Callable[..., Path]
BLOCKS = 3
CASES = DatasetSection(path="cases.json")


@pytest.fixture(scope="module")
def own(saved_model: ModelSaver) -> str:
    """A model of three blocks that no study names."""
    return str(saved_model("gpt2"))


def choose(choice: Choice) -> tuple[Mapping[str, Any], list[str]]:
    """The editor's options afterwards, and what was printed."""
    told: list[str] = []
    config = with_layers(study_for(choice, CASES), load_registry(), told.append)
    return config.editors[choice.editor].options, told


@pytest.mark.parametrize(
    ("editor", "option", "value", "another"),
    [
        ("rome", "layer", 1, "another with --set layer=N, N from 0 to 2"),
        ("ft", "layer", 2, "another with --set layer=N, N from 0 to 2"),
        ("memit", "layers", [0, 1], "others with --set layers=[N, …], N from 0 to 2"),
        ("mend", "layers", [0, 1, 2], "others with --set layers=[N, …], N from 0 to 2"),
    ],
)
def test_a_model_of_one_s_own_is_edited_at_layers_that_its_depth_suggests(
    own: str, editor: str, option: str, value: object, another: str
) -> None:
    options, told = choose(Choice(own, editor))
    assert options == {option: value}
    assert told == [f"choose {option}={value} by the model's depth; {another}"]


def test_a_given_layer_is_kept_and_nothing_is_printed(own: str) -> None:
    assert choose(Choice(own, "rome", {"layer": 2})) == ({"layer": 2}, [])
    options, told = choose(Choice("tiny-gpt2", "rome"))
    assert (options["layer"], told) == (2, []), "config.yaml names it"


def test_an_editor_that_has_no_layers_gets_none(own: str) -> None:
    assert choose(Choice(own, "noop")) == ({}, [])


@pytest.mark.parametrize("blocks", [*range(1, 60), 80, 126])
def test_every_chosen_layer_is_one_of_the_model_s(blocks: int) -> None:
    for entry in load_registry().editors.values():
        options = entry.record.config.for_depth(blocks)
        layers = entry.record.config.model_validate(options).edited_layers()
        assert all(0 <= layer < blocks for layer in layers), entry.record.name


PUBLISHED = {
    ("rome", 28): [5],
    ("rome", 32): [5],
    ("rome", 48): [17],
    ("memit", 28): [4, 5, 6, 7, 8],
    ("memit", 32): [4, 5, 6, 7, 8],
    ("memit", 48): [13, 14, 15, 16, 17],
    ("ft", 28): [21],
    ("ft", 32): [21],
    ("mend", 48): [45, 46, 47],
    ("malmen", 28): [22, 23, 24, 25, 26, 27],
}


@pytest.mark.parametrize(("editor", "blocks"), PUBLISHED)
def test_models_of_published_depths_get_published_layers(editor: str, blocks: int) -> None:
    config = load_registry().editors[editor].record.config
    options = config.model_validate(config.for_depth(blocks))
    assert list(options.edited_layers()) == PUBLISHED[editor, blocks]


class Third(EditorConfig):
    """A third party's options, which know nothing of depth."""

    layer: int


class Free(EditorConfig):
    """Options whose layer has a default of its own."""

    layer: int = 0


def test_options_of_a_third_party_follow_from_the_depth_where_a_layer_is_required() -> None:
    assert Third.for_depth(48) == {"layer": published_layer(48)}
    assert Free.for_depth(48) == {}


def test_options_that_fail_on_a_depth_are_their_plugin_s_fault(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_registry().editors["rome"].record.config
    monkeypatch.setattr(config, "for_depth", lambda blocks: {}[blocks])
    with pytest.raises(PluginError, match=r"editcore-rome: rome .* 3 blocks \(KeyError: 3\)"):
        choose(Choice(own, "rome"))


def test_check_prints_the_layer_before_torch_is_imported(own: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom editcore.runs import prepare\n"
        "def stop(*_):\n"
        "    print('torch' in sys.modules)\n"
        "    raise SystemExit\n"
        "prepare._with_artefacts = stop\n"
        "from editcore.cli import main\nmain(sys.argv[1:])\n"
    )
    fact = ["--prompt", "{} is", "--subject", "A", "--target", "B"]
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--model", own, "--editor", "rome", *fact],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "choose layer=1 by the model's depth; another with --set layer=N" in done.stderr
    assert done.stdout.split() == ["False"]


def test_a_layer_outside_the_model_is_refused_with_its_range(own: str) -> None:
    fact = ["--prompt", "{} is", "--subject", "A", "--target", "B"]
    chosen = ["--model", own, "--editor", "rome", "--set", f"layer={BLOCKS}"]
    result = CliRunner().invoke(main, ["check", *chosen, *fact])
    assert result.exit_code == 2
    assert "which has 3 layers, 0 to 2" in result.output
