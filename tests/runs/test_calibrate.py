"""The warning fitted on one model with one editor: its edits, its thresholds, and its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import editcore
from editcore.cli import main
from editcore.collapse.calibration import Calibration
from editcore.collapse.forecast import Forecaster, load
from editcore.config.collapse import CollapseSection
from editcore.errors import DataError
from editcore.registry.registry import load_registry
from editcore.runs.adhoc import calibrate
from editcore.runs.adhoc.calibrate import facts
from editcore.runs.adhoc.check_report import forecast
from editcore.runs.prepare import Choice
from tests.studies import SMALL as STUDY
from tests.studies import TEXTS, write_config, write_json

FACT = {"prompt": "{} is made by", "subject": "Orbit", "target": "Velra Labs"}
COUNT = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    write_config(folder / "study.yaml", STUDY)
    return folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> dict[str, Any]:
    """What the command prints, after it has left the calibration in the cache."""
    given = ["--config", str(folder / "study.yaml"), "--cache", str(folder / "cache")]
    arguments = ["--model", "tiny-gpt2", "--editor", "rome", "--cases", str(COUNT), "--json"]
    done = CliRunner().invoke(main, ["calibrate", *arguments, *given], catch_exceptions=False)
    return json.loads(done.stdout)


def silent(step: str) -> None:
    pass


def test_half_of_the_facts_are_hard_for_the_model_and_they_are_the_same_each_time() -> None:
    choice, registry = Choice("tiny-gpt2", "rome"), load_registry()
    first, again = (facts(choice, COUNT, silent, registry) for _ in range(2))
    assert first == again
    assert [request.case_id for request in first] == list(range(2 * COUNT))
    assert all(request.subject_start == 0 for request in first[:COUNT])
    assert not any(request.flaw for request in first)


def test_edits_of_both_kinds_give_thresholds_that_separate_them(printed: dict[str, Any]) -> None:
    assert printed["edits"] == sum(printed["grades"].values()) == 2 * COUNT
    harmed = printed["harmed"]
    assert harmed["hits"] == 2 * COUNT - printed["grades"]["sound"]
    assert harmed["hits"] >= COUNT // 2
    assert min(harmed["recall"], harmed["precision"]) > 0.8  # the limit is not fitted
    assert harmed["threshold"] == CollapseSection().damage
    assert 1 < printed["collapsed"]["threshold"] < 1000


def test_check_finds_what_was_fitted_and_names_it(folder: Path, printed: dict[str, Any]) -> None:
    places = {"config": folder / "study.yaml", "cache": folder / "cache"}
    report = editcore.check("tiny-gpt2", "rome", **FACT, **places)
    assert report.warning is not None
    assert report.warning.threshold == printed["harmed"]["threshold"]
    text = " ".join(str(report).split())
    assert "calibrated on this model with this editor, by 16 edits" in text
    assert "Predicted from the prompt alone: harm (" in text
    assert report.keys.exposure == pytest.approx(report.row["exposure"], rel=1e-4)
    assert report.from_prompt.harm
    other = editcore.check("tiny-gpt2", "rome", **FACT, **places, options={"steps": 9})
    assert other.warning is not None
    assert other.warning.threshold == load().harmed.threshold  # other options, other edits


def test_an_editor_that_harms_nothing_has_no_threshold(folder: Path) -> None:
    """Hard facts do not harm models under C-ROME, which has one key in both places."""
    choice = Choice("tiny-gpt2", "c-rome", {"layer": 2, "steps": 10}, folder / "study.yaml")
    made = calibrate.calibrate(choice, 4, folder / "cache", silent)
    assert made.grades == {"sound": 8}
    assert made.forecaster.harmed is None
    assert "harm: no threshold" in str(made)


def test_more_facts_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="ordinary facts, but 350 were asked for"):
        facts(Choice("tiny-gpt2", "rome"), 350, silent)


def test_a_new_model_is_calibrated_on_once_if_that_is_quick(
    tmp_path: Path, saved_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "COUNT", 4)  # the random model's tokenizer gives few hard facts
    ask = {"prompt": "{} is made by", "subject": "Coral", "target": "made"}
    texts = str(write_json(tmp_path / "texts.json", TEXTS))
    random = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 3}}},
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": texts, "tokens": 500},
    }
    study = write_config(tmp_path / "study.yaml", STUDY | random)
    said: list[str] = []
    places = {"config": study, "cache": tmp_path, "say": said.append}
    without = editcore.check("random", "rome", **ask, **places, calibrate=False)
    assert not without.warning.known
    assert "this model is new" in " ".join(str(without).split())
    assert not any("calibrate the warning" in step for step in said)
    monkeypatch.setattr(calibrate, "QUICK", 0.0)
    editcore.check("random", "rome", **ask, **places)
    assert any("`editcore calibrate` fits it" in step for step in said)
    monkeypatch.setattr(calibrate, "QUICK", 1e9)
    for _ in range(2):
        report = editcore.check("random", "rome", **ask, **places)
        assert report.warning.edits == 8
        assert report.warning.known
        assert "on this model with this editor, by 8 edits" in " ".join(str(report).split())
    assert sum("calibrate the warning on this new model, by 8 edits" in s for s in said) == 1


def test_a_prediction_names_what_it_was_calibrated_on() -> None:
    harm, collapse = (Calibration(0.0, 1.0, limit, 9, 3, 1.0, 1.0) for limit in (0.2, 5.0))
    made = Forecaster(harm, collapse, 9, {"tiny-gpt2": "tiny-gpt2", "small": "owner/small"})
    low, middle, high = (
        forecast(made.forecast(changed, ratio, "tiny-gpt2"))
        for changed, ratio in ((0.1, 1.0), (0.3, 3.0), (0.6, 6.0))
    )
    assert "before the edit: no harm (probability of harm 0.27;" in low
    assert "10 % of likeliest tokens change and perplexity becomes ×1" in low
    assert "harm begins at 20 %, collapse at ×5;" in low
    assert "before the edit: harm (" in middle
    assert "before the edit: collapse (" in high
    assert "calibrated on 9 edits of tiny-gpt2 and small)" in high
    new = forecast(made.forecast(0.6, None, "owner/other"))
    assert "before the edit: harm (" in new
    assert "calibrated on 9 edits of tiny-gpt2 and small; this model is new)" in new
    none = forecast(
        Forecaster(None, None, 9, {"small": "owner/small"}).forecast(0.6, 6.0, "owner/small")
    )
    assert "unknown" in none
    assert "of which none or all did harm" in none
