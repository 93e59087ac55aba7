"""A study to plan, in a folder that has its model and data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import parse
from editcore.planning.planner import plan
from editcore.planning.study import Study
from tests.studies import plain_registry, study_config

Planner = Callable[..., Study]


@pytest.fixture
def place(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the study, where no bundled resources are found."""
    monkeypatch.setenv("EDITCORE_RESOURCES", str(study_folder / "resources"))
    return study_folder


@pytest.fixture
def planned(place: Path) -> Planner:
    """Plan `study_config(**sections)` there."""

    def run(**sections: Any) -> Study:
        return plan(parse(study_config(**sections), "study.yaml"), "study.yaml", plain_registry())

    return run
