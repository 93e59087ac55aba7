"""An edit at 8 and 4 bits is what rounding the edited or the unedited weights themselves gives."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.evaluation.perplexity import measure, tokenize
from editcore.evaluation.rounding import compression
from editcore.models.loading import load_model
from editcore.updates.delta import load_deltas
from tests.studies import TEXTS, write_random_study

ModelSaver = Callable[..., Path]
FACT = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "made")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, saved_model: ModelSaver) -> Path:
    """A study of a random model without C, and a cache."""
    folder = tmp_path_factory.mktemp("rounded")
    write_random_study(folder, saved_model("gpt2"))
    return folder


def check(folder: Path, editor: str, *more: str) -> Result:
    """One edit of the random model, also at few bits."""
    chosen = ("--model", "random", "--editor", editor, "--config", str(folder / "study.yaml"))
    where = ("--cache", str(folder / "cache"), "--no-calibrate")
    return CliRunner().invoke(main, ["check", *FACT, "--rounded", *chosen, *where, *more])


def test_at_few_bits_each_row_is_of_the_rounded_weights_with_or_without_the_edit(
    folder: Path, saved_model: ModelSaver, tmp_path: Path
) -> None:
    made = check(folder, "rome", "--json", "--save", str(tmp_path))
    assert made.exit_code in (0, 3), made.output  # sound, or damaged without rounding, too
    rows = json.loads(made.stdout)["rounded"]
    assert [(row["bits"], row["rounded_as"], row["adapter"]) for row in rows] == [
        (8, "GGUF Q8_0", False), (8, "GGUF Q8_0", True),
        (4, "GGUF Q4_0", False), (4, "GGUF Q4_0", True),
    ]  # fmt: skip
    (delta,) = load_deltas(tmp_path / "delta.safetensors").values()
    model = load_model("random", str(saved_model("gpt2")))
    texts = tokenize(model, TEXTS[:2])
    for row in rows:
        with compression(row["bits"], "cpu").applied(model):
            assert row["perplexity_unedited"] == pytest.approx(measure(model, texts).mean)
            if row["adapter"]:
                with delta.applied(model.model):
                    expected = measure(model, texts).mean
        if not row["adapter"]:
            with delta.applied(model.model), compression(row["bits"], "cpu").applied(model):
                expected = measure(model, texts).mean
        assert row["perplexity"] == pytest.approx(expected, rel=1e-4)
        assert row["grade"] == ("damaged" if row["top1_kept"] < 0.92 else "sound")
        assert row["efficacy"] in (0, 0.5, 1)


def test_edits_at_few_bits_are_a_table_and_patches_are_refused(folder: Path) -> None:
    shown = check(folder, "rome")
    assert "| 4    | GGUF Q4_0  | beside the weights, as an adapter |" in shown.stdout, shown.output
    refused = check(folder, "grace")
    assert refused.exit_code == 2
    assert "grace changes no weights, so there is no edit to round" in refused.output
