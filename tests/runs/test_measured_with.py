"""The line on what a verdict was measured with follows the study and its artefacts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from editcore.cli import main
from editcore.runs.adhoc.measured_with import MeasuredWith, MomentSource
from tests.studies import TEXTS, record, write_config, write_json

FACT = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "Osdor")


def study(source: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A study of a random model with one editor that uses C."""
    texts = str(write_json(folder / "texts.json", TEXTS))
    known: dict[str, Any] = {
        "models": {"random": {"source": str(source)}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 1}}},
        "datasets": {
            "facts": {"path": str(write_json(folder / "facts.json", [record(0, "Coral")]))}
        },
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": texts, "tokens": 500},
    }
    return known | changes


def found(folder: Path, config: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """What `check --json` says that it measured with."""
    write_config(folder / "study.yaml", config)
    chosen = ["--model", "random", "--editor", "rome", "--config", str(folder / "study.yaml")]
    done = CliRunner().invoke(
        main, ["check", *FACT, *chosen, "--cache", str(folder / "cache"), "--json", *arguments]
    )
    assert done.exit_code in (0, 3, 4), done.output
    content: dict[str, Any] = json.loads(done.stdout)["measured_with"]
    return content


def test_texts_moments_layer_and_numbers_are_named(
    tmp_path: Path, saved_model: Callable[..., Path]
) -> None:
    config = study(saved_model("gpt2"), tmp_path)
    measured = found(tmp_path, config)
    assert measured["perplexity_file"] == str(tmp_path / "texts.json")
    assert measured["perplexity_texts"] == 2
    assert measured["layers"] == [1]
    assert (measured["dtype"], measured["stored_as"]) == ("float32", "F32")
    moments = measured["moments"]
    assert moments["origin"] == "file"
    assert moments["file"] == str(tmp_path / "texts.json")
    assert 0 < moments["tokens"] <= 500
    assert measured["sentence"] == (
        f"Measured with: 2 texts of {tmp_path}/texts.json; C from {moments['tokens']} tokens of "
        f"{tmp_path}/texts.json; layer 1; float32 (stored as F32)."
    )


def test_an_editor_without_c_and_a_model_that_wrote_its_texts(
    tmp_path: Path, saved_model: Callable[..., Path]
) -> None:
    own = study(saved_model("gpt2"), tmp_path, moments={"source": "model", "tokens": 300})
    moments = found(tmp_path, own)["moments"]
    assert moments["origin"] == "own texts"
    assert moments["tokens"] == 300
    without = found(tmp_path, own, "--set", "second_moment=false")
    assert without["moments"] is None
    assert "; no C; layer 1;" in without["sentence"]


def test_check_and_guard_print_the_line(tmp_path: Path, saved_model: Callable[..., Path]) -> None:
    write_config(tmp_path / "study.yaml", study(saved_model("gpt2"), tmp_path))
    chosen = ["--model", "random", "--editor", "rome", "--config", str(tmp_path / "study.yaml")]
    chosen += ["--cache", str(tmp_path / "cache")]
    facts, out = str(tmp_path / "facts.json"), str(tmp_path / "out")
    for command in (["check", *FACT], ["guard", facts, "--out", out]):
        page = CliRunner().invoke(main, [*command, *chosen]).stdout
        assert f"\nMeasured with: 2 texts of {tmp_path}/texts.json; C from " in page
    rows = CliRunner().invoke(main, ["guard", facts, "--out", out, *chosen, "--json"]).stdout
    (row,) = json.loads(rows)
    assert row["measured_with"]["layers"] == [1]


def test_the_sentence_names_published_moments_precision_and_several_layers() -> None:
    moments = MomentSource("published statistics", "stats/layer-{layer}.npz", 100_000)
    measured = MeasuredWith("t.json", 50, moments, (3, 4), "float32", "bfloat16", "Q4_1")
    assert str(measured) == (
        "Measured with: 50 texts of t.json; C from the published stats/layer-{layer}.npz "
        "(100,000 tokens); layers 3, 4; float32, passes in bfloat16 (stored as Q4_1)."
    )
    bare = MeasuredWith("t.json", 1, None, (), "float64", "float32", None)
    assert str(bare) == "Measured with: 1 text of t.json; no C; float64."
