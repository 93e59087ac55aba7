"""A study's treatments are planned from its edits, and what cannot work is refused."""

from pathlib import Path
from typing import Any

import pytest

from editcore.errors import ConfigError, DataError
from editcore.planning import paths
from editcore.planning.stages.jobs import SurvivalJob
from editcore.planning.study import listed_survival
from tests.planning.conftest import Planner
from tests.studies import write_json

PLAIN = {"options": {"layer": 1}}


def test_treatments_are_a_job_per_model_of_all_weight_changes(planned: Planner) -> None:
    assert planned().survival == {}
    study = planned(editors={"plain": PLAIN, "aside": {}}, survival={"cases": 7})
    job = study.survival["tiny"]
    plain = [str(paths.edits(*key)) for key in study.edits if key.editor == "plain"]
    assert [each.rows for each in job.edits] == plain, "patches are left out"
    assert (job.cases, job.treatments[-1], job.pruned_share) == (7, "fine-tuned", 0.3)
    assert job.tuning is not None
    assert (job.tuning.path, job.tuning.skipped) == ("data/texts.json", 2)
    inputs = study.survival_inputs("tiny")
    assert {*plain, "data/facts.json", "data/texts.json", "model/config.json"} <= {*inputs}
    study.write()
    listed = listed_survival(paths.STUDY_FILE)
    assert listed == {paths.survival("tiny"): job}
    assert str(paths.summary("survival")) in study.summaries
    assert str(paths.survival("tiny")) in study.tables


def test_other_texts_are_used_from_their_start_and_none_without_fine_tuning(
    planned: Planner, tmp_path: Path
) -> None:
    write_json(tmp_path / "data" / "other.json", ["One text."])
    tuning = planned(survival={"texts": "data/other.json"}).survival["tiny"].tuning
    assert tuning is not None
    assert (tuning.path, tuning.skipped) == ("data/other.json", 0)
    rounded = planned(survival={"treatments": ["8-bit"], "texts": "none.json"}).survival["tiny"]
    assert isinstance(rounded, SurvivalJob)
    assert (rounded.tuning, rounded.treatments) == (None, ("8-bit",))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"treatments": ["frozen"]},
            r"survival\.treatments\.0: .*'8-bit', '4-bit', .*'pruned'",
        ),
        ({"treatments": ["8-bit", "8-bit"]}, "'8-bit' is listed twice"),
        ({"treatments": []}, r"survival\.treatments"),
        ({"pruned_share": 1.0}, r"survival\.pruned_share: .*less than 1"),
        ({"pruned_share": -0.1}, r"survival\.pruned_share: .*greater than 0"),
        ({"learning_rate": 0}, r"survival\.learning_rate: .*greater than 0"),
        ({"cases": 0}, r"survival\.cases"),
        ({"step": 3}, "Did you mean 'steps'"),
    ],
    ids=str,
)
def test_treatments_that_cannot_be_are_refused(
    planned: Planner, section: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(survival=section)


def test_texts_that_are_missing_or_all_measured_on_are_refused(planned: Planner) -> None:
    with pytest.raises(DataError, match=r"survival\.texts: there is no file none\.json"):
        planned(survival={"texts": "none.json"})
    every = {"path": "data/texts.json", "texts": 4}
    with pytest.raises(ConfigError, match=r"survival\.texts: .* all 4 texts of data/texts\.json"):
        planned(survival={}, perplexity=every)
