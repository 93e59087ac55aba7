"""One edit, one verdict: from Python, from the command line, and into a model's files and back."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal

import editcore
from editcore.cli import main
from editcore.models.loading import load_model
from editcore.registry import registry
from editcore.registry.candidates import Candidate
from editcore.updates.delta import Delta, DenseUpdate, load_deltas, save_deltas
from tests.studies import TEXTS, record, write_config, write_json

ModelSaver = Callable[..., Path]
# The random model gives this object already, so that even a weak edit takes.
TARGET = "made"
FACT = ("--prompt", "{} is made by", "--subject", "Coral", "--target", TARGET)
# Any perplexity is above the one and below the other.
ALWAYS, NEVER = 1e-18, 1e12
# The perplexity ratio above which a model has collapsed.
STUDIES = {"safe": NEVER, "collapse": ALWAYS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, saved_model: ModelSaver) -> Path:
    """Studies of a random model, which differ in the thresholds, and a shared cache."""
    folder = tmp_path_factory.mktemp("check")
    texts = str(write_json(folder / "texts.json", TEXTS))
    write_json(folder / "facts.json", [record(i, s) for i, s in enumerate(("Coral", "Tavel"))])
    for name, ratio in STUDIES.items():
        study = {
            "models": {"random": {"source": str(saved_model("gpt2"))}},
            "editors": {"rome": {"options": {"layer": 1, "steps": 3}}},
            "datasets": {"facts": {"path": str(folder / "facts.json")}},
            "perplexity": {"path": texts, "texts": 2},
            "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
            "moments": {"path": texts, "tokens": 500},
            "collapse": {"ratio": ratio},
        }
        write_config(folder / f"{name}.yaml", study)
    return folder


def run(folder: Path, verb: str, *arguments: str, study: str = "safe") -> Result:
    """One command on the random model."""
    chosen = ["--model", "random", "--editor", "rome", "--config", str(folder / f"{study}.yaml")]
    cache = ["--cache", str(folder / "cache")]
    return CliRunner().invoke(main, [verb, *arguments, *chosen, *cache])


def test_the_exit_status_gives_the_verdict(folder: Path) -> None:
    safe, collapsed = (run(folder, "check", *FACT, study=s) for s in STUDIES)
    assert (safe.exit_code, collapsed.exit_code) == (0, 3), safe.output
    assert "SOUND: perplexity" in safe.stdout
    assert "Asked freely, it names the new object" in safe.stdout
    assert "COLLAPSED: perplexity" in collapsed.stdout
    for words in (
        "denominator of the update",
        "key strategy mixed",
        "before:",
        "after:",
        "efficacy",
        "nats per token",
    ):
        assert words in collapsed.stdout
    scale = "The edit disturbs the model less than rounding its weights to 8 bits."
    assert scale in " ".join(collapsed.stdout.split())


def test_a_damaged_model_has_its_own_verdict(tmp_path: Path) -> None:
    fact = ("--prompt", "{} is made by", "--subject", "Amber", "--target", "Graal")
    chosen = ("--model", "tiny-gpt2", "--editor", "ft", "--cache", str(tmp_path))
    damaged = CliRunner().invoke(main, ["check", *fact, *chosen])
    assert damaged.exit_code == 3, damaged.output
    moved = r"DAMAGED: perplexity .*, but another next token is the likeliest at \S+ % of tokens \("
    assert re.search(moved, " ".join(damaged.stdout.split()))


def test_an_edit_that_did_nothing_is_without_effect(folder: Path) -> None:
    chosen = ["--model", "random", "--editor", "noop", "--config", str(folder / "safe.yaml")]
    cache = ["--cache", str(folder / "cache")]
    text, data = (
        CliRunner().invoke(main, ["check", *FACT, "--target", "Osdor", *chosen, *cache, *more])
        for more in ((), ("--json",))
    )
    assert (text.exit_code, data.exit_code) == (4, 4), text.output
    assert "WITHOUT EFFECT: the model is unchanged and does not give the new object" in text.stdout
    assert json.loads(data.stdout)["verdict"] == "without effect"
    asked = {"prompt": "{} is made by", "subject": "Coral", "target": TARGET}
    places = {"config": folder / "safe.yaml", "cache": folder / "cache"}
    known = editcore.check("random", "noop", **asked, **places)
    assert known.outcome == "without effect"
    assert "the model is unchanged and gives the new object already" in str(known)


def test_an_editor_that_needs_no_subject_is_checked_without_one(folder: Path) -> None:
    places = {"config": folder / "safe.yaml", "cache": folder / "cache"}
    named = editcore.check(
        "random", "noop", prompt="{} is made by", subject="Coral", target=TARGET, **places
    )
    unnamed = editcore.check("random", "noop", prompt="Coral is made by", target=TARGET, **places)
    assert unnamed.outcome == named.outcome
    assert unnamed.row["efficacy"] == named.row["efficacy"]
    assert "noop on random: Coral is made by → made" in str(unnamed)


def test_an_edit_that_took_in_no_way_is_without_effect_unless_it_collapsed_the_model(
    folder: Path,
) -> None:
    asked = {"prompt": "{} is made by", "subject": "Coral", "target": TARGET}
    places = {"config": folder / "safe.yaml", "cache": folder / "cache"}
    report = editcore.check("random", "rome", **asked, **places)
    ways = ("efficacy", "efficacy_prefixed", "efficacy_free", "efficacy_free_prefixed")
    none = {**report.row, **dict.fromkeys(ways, 0.0)}
    assert report.altered
    assert replace(report, row=none).outcome == "without effect"
    assert "neither after the bare prompt nor after prefixes" in str(replace(report, row=none))
    for way, least in zip(ways, (0.5, 0.5, 1.0, 0.2), strict=True):
        assert replace(report, row=none | {way: least}).outcome == "sound", way
    assert replace(report, row=none | {"efficacy": 0.4}).outcome == "without effect"
    for grade in ("damaged", "collapsed"):
        assert replace(report, row=none | {"grade": grade}).outcome == grade


def test_a_change_below_the_weights_rounding_alters_nothing(saved_model: ModelSaver) -> None:
    model = load_model("random", str(saved_model("gpt2"))).model
    name = "transformer.h.1.mlp.c_proj.weight"
    ones = torch.ones(model.get_parameter(name).shape).T
    for size, alters in ((0.0, False), (1e-30, False), (1e-3, True)):
        assert Delta({name: DenseUpdate(size * ones)}).alters(model) is alters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "layr=1"), "layr: unknown key. Did you mean 'layer'?"),
        (("--set", "layer=9"), "layer 9 is outside the model"),
        (("--set", "layer"), "--set 'layer': give two parts with '=' between them"),
        (("--neighbour", "The sea"), "--neighbour 'The sea': give two parts"),
        (("--prompt", "It is made by"), "needs one '{}' where the subject 'Coral' belongs"),
        (("--editor", "romee"), "Did you mean 'rome'?"),
    ],
)
def test_impossible_requests_are_refused_with_a_message(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    chosen = ["--model", "random", "--editor", "rome", "--config", str(folder / "safe.yaml")]
    result = CliRunner().invoke(main, ["check", *FACT, *chosen, *arguments])
    assert result.exit_code == 2
    assert message in result.output


LONG = "the sea is quiet " * 80


@pytest.mark.parametrize(
    ("poison", "message"),
    [
        (("--paraphrase", ""), "paraphrase 1 is empty"),
        (("--paraphrase", "Coral is", "--paraphrase", "\n"), "paraphrase 2 is empty"),
        (("--paraphrase", LONG), "positions; shorten it"),
        (("--neighbour", " =quiet"), "--neighbour ' =quiet': give two parts"),
        (("--neighbour", "The sea is="), "answer of neighbour 1 is empty"),
        (("--neighbour", f"{LONG}=quiet"), "positions; shorten it"),
        (("--target", " "), "target_new is empty"),
        (("--target", LONG), "positions; shorten it"),
        (("--subject", ""), "subject is empty"),
        (("--prompt", f"{LONG} {{}} is"), "positions; shorten it"),
    ],
)
def test_check_refuses_a_poisoned_fact_in_one_sentence(
    folder: Path, poison: tuple[str, ...], message: str
) -> None:
    result = run(folder, "check", *FACT, *poison)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert isinstance(result.exception, SystemExit)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("editcore: error: ") and message in last
    assert "Traceback" not in result.stderr


def test_json_contains_the_row_and_the_generated_text(folder: Path) -> None:
    result = run(
        folder,
        "check",
        *FACT,
        *("--paraphrase", "The maker of Coral is", "--neighbour", "The sea is=quiet", "--json"),
    )
    found = json.loads(result.stdout)
    assert found["verdict"] == "sound"
    assert found["grade"] == "sound"
    assert found["perplexity_ratio"] == found["perplexity"] / found["perplexity_base"]
    assert found["generalization"] is not None
    assert found["locality"] is not None
    assert set(found["keys"]["denominators"]) >= {"mixed", "prefixed", "unprefixed"}
    assert found["keys"]["denominators"]["mixed"] == pytest.approx(found["denominator"], rel=1e-4)
    assert found["continuations"][0]["prompt"] == "Coral is made by"
    assert "reason" in found
    assert 0.0 < found["kl_mean"] <= found["kl_upper"]
    assert 0.0 <= found["top1_kept"] <= 1.0
    assert 0.0 < found["rounding"]["8"] < found["rounding"]["4"]


def test_artefacts_are_made_once(folder: Path, tmp_path: Path) -> None:
    steps: list[list[str]] = []
    for _ in range(2):
        said: list[str] = []
        config = folder / "safe.yaml"
        ask: dict[str, Any] = {"prompt": "{} is made by", "subject": "Coral", "target": TARGET}
        report = editcore.check(
            "random", "rome", **ask, config=config, cache=tmp_path, say=said.append
        )
        steps.append(said)
        assert not report.collapsed
        assert report.save(str(tmp_path / "edit")).is_file()
    assert [s for s in steps[0] if "kept for next time" in s] != []
    assert [s for s in steps[1] if "kept for next time" in s] == []


def test_plugins_are_loaded_once_if_the_artefacts_exist(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    ask: dict[str, Any] = {"prompt": "{} is made by", "subject": "Coral", "target": TARGET}
    ask |= {"config": folder / "safe.yaml", "cache": tmp_path}
    editcore.check("random", "rome", **ask)
    found = registry.installed

    def counted() -> list[Candidate]:
        loaded.append(1)
        return found()

    monkeypatch.setattr(registry, "installed", counted)
    assert editcore.check("random", "rome", **ask).keys is not None
    assert len(loaded) == 1


def test_a_saved_change_in_a_folder_is_the_model_that_was_measured(
    folder: Path, tmp_path: Path, saved_model: ModelSaver
) -> None:
    assert run(folder, "check", *FACT, "--save", str(tmp_path / "edit")).exit_code == 0
    source = saved_model("gpt2")
    out = tmp_path / "edited"
    done = CliRunner().invoke(
        main, ["apply", str(tmp_path / "edit"), str(source), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    (delta,) = load_deltas(tmp_path / "edit" / "delta.safetensors").values()
    edited, model = load_model("edited", str(out)), load_model("source", str(source))
    with delta.applied(model.model):
        for (name, ours), theirs in zip(
            model.model.named_parameters(), edited.model.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs), name
    assert (out / "model.safetensors").read_bytes() != (source / "model.safetensors").read_bytes()


def test_apply_names_what_it_needs(folder: Path, tmp_path: Path, saved_model: ModelSaver) -> None:
    one = {7: Delta({}), 8: Delta({})}
    save_deltas(one, tmp_path / "two.safetensors", {})
    file, there = str(tmp_path / "two.safetensors"), str(folder)
    copy = ["tiny-gpt2", "--out", str(tmp_path / "copy")]
    for arguments, message in (
        ([file, there], "give either --out FOLDER"),
        ([file, "tiny-gpt2", "--in-place"], "is a bundled model"),
        ([file, *copy], "contains 2 changes; choose one with --case: 7, 8"),
        ([file, *copy, "--case", "9"], "contains no change of case 9"),
        ([file, there, "--in-place", "--case", "7"], "has no config.json"),
    ):
        result = CliRunner().invoke(main, ["apply", *arguments])
        assert result.exit_code == 2
        assert message in result.output


def test_guard_keeps_what_is_safe_and_refuses_the_rest(folder: Path, tmp_path: Path) -> None:
    facts = str(folder / "facts.json")
    kept = run(folder, "guard", facts, "--out", str(tmp_path / "kept"))
    assert kept.exit_code == 0, kept.output
    assert "2 of 2 edits accepted." in kept.stdout
    refused = run(folder, "guard", facts, "--out", str(tmp_path / "refused"), study="collapse")
    assert refused.exit_code == 3, refused.output
    assert "the model would collapse, perplexity" in refused.stdout
    (whole,) = load_deltas(tmp_path / "kept" / "delta.safetensors").values()
    (nothing,) = load_deltas(tmp_path / "refused" / "delta.safetensors").values()
    assert whole.norm() > 0
    assert nothing.updates == {}
    rows = pl.read_parquet(tmp_path / "kept" / "guard.parquet")
    assert rows["accepted"].to_list() == [True, True]
    assert rows["step"].to_list() == [0, 1]


def test_guard_judges_the_outcome_of_all_accepted_edits(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "guard", str(folder / "facts.json"), "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    from editcore.evaluation import perplexity

    study = editcore_study(folder)
    model = load_model("random", study["models"]["random"]["source"])
    (whole,) = load_deltas(tmp_path / "delta.safetensors").values()
    texts = perplexity.tokenize(model, TEXTS[:2])
    (found,) = perplexity.EditedPerplexity(model, texts).of([whole])
    last = pl.read_parquet(tmp_path / "guard.parquet")["perplexity"][-1]
    assert last == pytest.approx(found.mean, rel=1e-5)


def test_guard_records_a_poisoned_fact_and_edits_the_others_as_without_it(
    folder: Path, tmp_path: Path
) -> None:
    facts = json.loads((folder / "facts.json").read_text())
    alone = run(folder, "guard", str(folder / "facts.json"), "--out", str(tmp_path / "alone"))
    assert alone.exit_code == 0, alone.output
    expected = pl.read_parquet(tmp_path / "alone" / "guard.parquet").drop("step")
    long = record(8, "Elro") | {"rephrase_prompt": "the sea is quiet " * 80}
    empty = record(9, "Elro") | {"rephrase_prompt": ["Elro", ""]}
    for place, (poison, reason) in enumerate(((long, "positions"), (empty, "is empty"))):
        given = [*facts[:place], poison, *facts[place:]]
        path, out = write_json(tmp_path / f"{place}.json", given), tmp_path / str(place)
        assert run(folder, "guard", str(path), "--out", str(out)).exit_code == 3
        rows = pl.read_parquet(out / "guard.parquet")
        own = rows.row(place, named=True)
        assert reason in own["status"]
        assert not own["accepted"]
        assert_frame_equal(
            rows.filter(pl.col("step") != place).drop("step"), expected, check_exact=True
        )


def editcore_study(folder: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((folder / "safe.yaml").read_text())
    return found


def test_the_function_is_there_without_torch() -> None:
    code = "import sys, editcore; print(callable(editcore.check), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_bundled_model_takes_the_default_study_s_options() -> None:
    from editcore.config.study import DatasetSection
    from editcore.runs.prepare import Choice, study_for

    asked = DatasetSection(path="asked.json")
    study = study_for(Choice("tiny-llama", "rome", {"steps": 7}), asked)
    options = study.editors["rome"].options
    assert options["steps"] == 7
    assert "layer" in options
    assert set(study.models) == {"tiny-llama"}


def test_a_model_writes_its_texts_once_and_what_it_knows_nothing_of_is_noted_first(
    folder: Path,
) -> None:
    study = yaml.safe_load((folder / "safe.yaml").read_text(encoding="utf-8"))
    study["collapse"]["damage"] = 1.0
    study["moments"] = {"tokens": 300}
    study["perplexity"] = {"path": "resources/world/perplexity.json", "texts": 2}
    write_config(folder / "own.yaml", study)
    first, second = (run(folder, "check", *FACT, study="own") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    note = "note: random is not a bundled model, but is measured on the invented world"
    use = "perplexity on resources/world/perplexity.json"
    for lines in (first.stdout.splitlines(), first.stderr.splitlines()):
        assert note in lines[0]
        assert use in lines[0]
    steps = [line for line in first.stderr.splitlines() if line.startswith("· ")]
    place = next(i for i, line in enumerate(steps) if line.startswith("· make C of layer 1 of"))
    assert "second_moment=false edits without C" in steps[place]
    assert "from 300 tokens that it writes itself: about" in steps[place + 1]
    assert "tokens/s measured)" in steps[place + 1]
    assert "C of layer" not in second.stderr
    assert second.stdout == first.stdout
    facts = str(folder / "facts.json")
    guarded = run(folder, "guard", facts, "--out", str(folder / "guarded"), study="own")
    assert guarded.stdout.startswith(note)
    planned = CliRunner().invoke(main, ["plan", str(folder / "own.yaml"), "--check"])
    assert note in planned.stdout
    assert not run(folder, "check", *FACT).stdout.startswith("note")
