"""An edited folder's ledger has the verdict of `check` or `guard`, and can be graded again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import editcore
from editcore.cli import main
from editcore.runs.adhoc.check_report import CheckReport
from editcore.runs.adhoc.edited.regrade import regrade
from editcore.updates.saved.ledger import read_ledger
from tests.studies import record, write_config, write_json

ModelSaver = Callable[..., Path]

TEXTS = [f"The word {n} is made by people who know it, and the people said so." for n in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, saved_model: ModelSaver) -> Path:
    """A study of a random model."""
    folder = tmp_path_factory.mktemp("regrade")
    texts = str(write_json(folder / "texts.json", TEXTS))
    facts = [record(i, s) for i, s in enumerate(("Coral", "Tavel"))]
    study = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 3}}},
        "datasets": {"facts": {"path": str(write_json(folder / "facts.json", facts))}},
        "perplexity": {"path": texts, "texts": 4},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": texts, "tokens": 500},
    }
    write_config(folder / "study.yaml", study)
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> CheckReport:
    places = {"config": folder / "study.yaml", "cache": folder / "cache"}
    fact = {"prompt": "{} is made by", "subject": "Coral", "target": "made"}
    return editcore.check("random", "rome", **fact, **places, calibrate=False)


@pytest.fixture
def saved(report: CheckReport, tmp_path: Path) -> Path:
    return report.save(tmp_path / "edit").parent


@pytest.fixture
def model(tmp_path: Path, saved_model: ModelSaver) -> Path:
    return Path(shutil.copytree(saved_model("gpt2"), tmp_path / "model"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_ledger_has_what_check_saved_and_the_grade_is_measured_again(
    report: CheckReport, saved: Path, model: Path
) -> None:
    assert run("apply", saved, model, "--in-place").exit_code == 0
    (line,) = read_ledger(model)
    origin = line.origin
    assert list(map(str, origin.facts or ())) == ["Coral is made by → made"]
    assert origin.editor is not None
    assert origin.editor.options == report.job.editor.options
    assert origin.verdict is not None
    assert origin.verdict.grade == report.row["grade"]
    assert origin.verdict.measured_with == str(report.measured_with)
    assert origin.verdict.rule == report.collapse.model_dump()
    text = run("log", model).output
    assert f"editor rome: {report.row['grade']}" in text
    assert "  Coral is made by → made\n" in text

    again = regrade(model, [line], lambda _: None)
    for name in ("perplexity", "perplexity_base", "top1_kept"):
        assert getattr(again, name) == pytest.approx(report.row[name], rel=1e-4), name
    assert not again.differs
    result = run("verify", model, "--grade", "--json")
    assert result.exit_code == 0, result.output


def test_another_grade_than_the_recorded_one_is_a_difference(saved: Path, model: Path) -> None:
    check = json.loads((saved / "check.json").read_text())
    lower = {"collapse": check["collapse"] | {"ratio": 1e-9}}
    (saved / "check.json").write_text(json.dumps(check | lower))
    assert run("apply", saved, model, "--in-place").exit_code == 0
    result = run("verify", model, "--grade")
    assert result.exit_code == 3, result.output
    assert "now collapsed: perplexity" in result.output
    assert f"; recorded: {check['grade']}" in result.output


@pytest.mark.parametrize(
    "other", [{"case_id": 5}, {"editor": "memit"}, {"delta_norm": 1e9}, {"editor_options": {}}]
)
def test_nothing_is_taken_from_the_report_of_another_edit(
    saved: Path, model: Path, other: dict[str, object]
) -> None:
    check = json.loads((saved / "check.json").read_text())
    (saved / "check.json").write_text(json.dumps(check | other))
    assert run("apply", saved, model, "--in-place").exit_code == 0
    (line,) = read_ledger(model)
    assert line.origin.verdict is None
    assert line.origin.facts is None
    assert line.origin.editor is not None
    assert line.origin.editor.label == "rome"
    result = run("verify", model, "--grade")
    assert result.exit_code == 0, result.output
    assert "no grade is recorded" in result.output


def test_a_list_s_facts_and_last_grade_are_in_the_ledger(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    chosen = ["--model", "random", "--editor", "rome", "--config", folder / "study.yaml"]
    out = tmp_path / "guarded"
    places = ["--cache", folder / "cache", "--out", out]
    rows = json.loads(run("guard", folder / "facts.json", *chosen, *places, "--json").stdout)
    accepted = [row for row in rows if row["accepted"]]
    assert accepted
    assert run("apply", out, model, "--in-place").exit_code == 0
    (line,) = read_ledger(model)
    subjects = [fact.subject for fact in line.origin.facts or ()]
    assert subjects == [row["subject"] for row in accepted]
    assert line.origin.verdict is not None
    assert line.origin.verdict.grade == accepted[-1]["grade"]
    assert line.origin.verdict.measured_with == accepted[-1]["measured_with"]["sentence"]
    result = run("verify", model, "--grade")
    assert result.exit_code == 0, result.output


def test_a_ledger_that_names_no_texts_cannot_be_graded(saved: Path, model: Path) -> None:
    from tests.model_folders import write_delta

    delta = write_delta(saved / "bare.safetensors")
    assert run("apply", delta, model, "--in-place").exit_code == 0
    result = run("verify", model, "--grade")
    assert result.exit_code == 2, result.output
    assert "names no texts that an edit was measured with" in result.output
