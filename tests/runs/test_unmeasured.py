"""`check` without measuring, and with context templates and a precision of one's own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.keyvalue import prefixes
from editcore.records.provenance import read
from editcore.updates.delta import Delta, load_deltas
from editcore.updates.saved.origin import origin_of
from tests.command_line import done, refused, run
from tests.studies import write_random_study

ModelSaver = Callable[..., Path]
FACT = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "made")
TEMPLATES = ("I think. {}", "You see, {}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, saved_model: ModelSaver) -> Path:
    """A study of a random model without C, a cache, and templates of one's own."""
    folder = tmp_path_factory.mktemp("unmeasured")
    write_random_study(folder, saved_model("gpt2"))
    (folder / "templates.txt").write_text("\n".join(TEMPLATES))
    return folder


def arguments(folder: Path, *more: object) -> tuple[object, ...]:
    """The command line for one edit of the random model."""
    chosen = ("--model", "random", "--editor", "rome", "--config", folder / "study.yaml")
    return "check", *FACT, *chosen, "--cache", folder / "cache", "--no-calibrate", *more


def saved(folder: Path) -> Delta:
    (delta,) = load_deltas(folder / "delta.safetensors").values()
    return delta


def change(delta: Delta) -> torch.Tensor:
    """The one matrix that an edit adds."""
    (update,) = delta.updates.values()
    return update.dense()


def used(folder: Path) -> tuple[str, ...]:
    """The context templates that a saved edit was made with."""
    return prefixes.load(Path(read(folder / "delta.safetensors")["job"]["prefixes"])).templates


def test_the_edit_is_the_one_that_is_measured_otherwise(folder: Path, tmp_path: Path) -> None:
    printed = done(*arguments(folder, "--no-measure", "--save", tmp_path / "only"))
    assert "NOT MEASURED" in printed
    assert run(*arguments(folder, "--save", tmp_path / "measured")).exit_code in (0, 3, 4)
    only, measured = (saved(tmp_path / name) for name in ("only", "measured"))
    assert only.updates.keys() == measured.updates.keys()
    torch.testing.assert_close(change(only), change(measured))


def test_the_fact_of_an_edit_that_was_not_measured_is_known_and_no_grade(
    folder: Path, tmp_path: Path
) -> None:
    report = json.loads(done(*arguments(folder, "--no-measure", "--json", "--save", tmp_path)))
    assert (report["verdict"], report["grade"]) == ("not measured", None)
    file = tmp_path / "delta.safetensors"
    origin = origin_of(file, 0, saved(tmp_path))
    assert origin.verdict is None and origin.facts is not None
    assert str(origin.facts[0]) == "Coral is made by → made"


def test_what_has_to_be_measured_is_refused(folder: Path) -> None:
    said = refused(*arguments(folder, "--no-measure", "--rounded"))
    assert "--rounded measures the edit" in said


def test_given_templates_are_used_and_change_the_edit(folder: Path, tmp_path: Path) -> None:
    given = ("--templates", folder / "templates.txt")
    for name, more in (("own", ()), ("given", given)):
        done(*arguments(folder, "--no-measure", *more, "--save", tmp_path / name))
    assert used(tmp_path / "given") == ("{}", *TEMPLATES)
    own, other = (change(saved(tmp_path / name)) for name in ("own", "given"))
    assert not torch.allclose(own, other)


def test_templates_are_read_again_after_a_change(folder: Path, tmp_path: Path) -> None:
    file, found = tmp_path / "templates.txt", []
    for text in TEMPLATES:
        file.write_text(text)
        done(*arguments(folder, "--no-measure", "--templates", file, "--save", tmp_path / "out"))
        found.append(used(tmp_path / "out"))
    assert found == [("{}", TEMPLATES[0]), ("{}", TEMPLATES[1])]


def test_a_precision_replaces_the_study_s_and_is_named(folder: Path) -> None:
    result = run(*arguments(folder, "--precision", "bfloat16", "--json"))
    assert result.exit_code in (0, 3, 4), result.output
    measured_with = json.loads(result.stdout)["measured_with"]
    assert measured_with["precision"] == "bfloat16"
    assert "passes in bfloat16" in measured_with["sentence"]


def test_a_precision_that_the_device_lacks_is_refused(folder: Path) -> None:
    said = refused(*arguments(folder, "--no-measure", "--precision", "tf32"))
    assert "tf32 needs a graphics card" in said
