"""A study to plan, in a folder that has its model and data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import parse
from editcore.planning.planner import plan
from editcore.planning.study import Study
from tests.studies import model_files, plain_registry, study_config, write_data

Planner = Callable[..., Study]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the model and data of `study_config`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITCORE_RESOURCES", str(tmp_path / "resources"))
    model_files(tmp_path / "model")
    write_data(tmp_path)
    return tmp_path


@pytest.fixture
def planned(place: Path) -> Planner:
    """Plan `study_config(**sections)` there."""

    def run(**sections: Any) -> Study:
        return plan(parse(study_config(**sections), "study.yaml"), "study.yaml", plain_registry())

    return run
