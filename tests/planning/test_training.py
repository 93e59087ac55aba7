"""A training is planned once for all editors that share it, or its result is read from a file."""

from pathlib import Path
from typing import Any

import pytest

from editcore.errors import DataError
from editcore.planning.jobs import TrainJob, read
from tests.planning.conftest import Planner


def learners(**options: Any) -> dict[str, Any]:
    return {
        "learner": {"options": {"steps": 4}},
        "other": {"uses": "learner", "options": {"steps": 4, **options}},
    }


def test_editors_share_a_training_unless_its_options_differ(planned: Planner) -> None:
    study = planned(editors=learners(strength=2.0))
    ((names, job),) = study.training.items()
    assert job.editor.options == {"layer": 1, "steps": 4}
    assert job.data == ("data/facts.json",)
    (path,) = {edit.trained for edit in study.edits.values()}
    assert path == f"results/artefacts/model=tiny/trained-{names[1]}.safetensors"
    for edit in study.edits:
        assert path in study.edits_inputs(*edit)
    assert {"data/facts.json", "model/model.safetensors"} < set(study.training_inputs(*names))
    assert len(planned(editors=learners(steps=5)).training) == 2
    study.write()
    assert read(TrainJob, Path(f"results/jobs/train/model=tiny/{names[1]}.json")) == job


def test_a_trained_file_replaces_training(planned: Planner) -> None:
    given = {"learner": {"options": {"learnt": "data/learnt.safetensors"}}}
    with pytest.raises(DataError, match=r"editors\.learner: there is no file data/learnt"):
        planned(editors=given)
    Path("data/learnt.safetensors").write_bytes(b"")
    study = planned(editors=given)
    assert study.training == {}
    assert {job.trained for job in study.edits.values()} == {"data/learnt.safetensors"}
    for edit in study.edits:
        assert "data/learnt.safetensors" in study.edits_inputs(*edit)
