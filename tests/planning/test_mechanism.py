"""The mechanism's jobs: their content, and what is refused before a model is loaded."""

from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import parse
from editcore.errors import ConfigError
from editcore.planning import paths
from editcore.planning.jobs import read
from editcore.planning.planner import plan
from editcore.planning.stages.jobs import MechanismJob
from editcore.planning.study import Study
from editcore.registry.registry import load_registry
from tests.planning.conftest import Planner
from tests.studies import study_config

CHOICE = {"editor": "rome", "hard": "facts", "normal": "facts", "cases": 2}


@pytest.fixture
def planned(place: Path) -> Planner:
    def run(**changes: Any) -> Study:
        editors = {"rome": {"options": {"layer": 1}}, "noop": {}}
        sections = {"editors": editors, "shard_size": 4, "mechanism": CHOICE | changes}
        config = parse(study_config(**sections), "study.yaml")
        return plan(config, "study.yaml", load_registry())

    return run


def test_cases_are_spread_over_the_shard_and_their_values_are_the_editor_s(planned) -> None:
    study = planned()
    job = study.mechanism["tiny"]
    assert job.hard_cases.case_ids == (10, 12)
    edits = study.edits["tiny", "rome", "facts", "000"]
    assert [job.normal_cases.values] == [source.path for source in edits.values]
    assert job.moments == edits.moments
    inputs = study.mechanism_inputs("tiny")
    assert {job.normal_cases.values, "data/texts.json", "model/model.safetensors"} <= set(inputs)
    study.write()
    assert read(MechanismJob, paths.mechanism_job("tiny")) == job


def test_without_the_section_there_is_no_job_and_no_table(planned) -> None:
    asked = planned()
    plain = plan(parse(study_config(editors={"noop": {}}), "s"), "s", load_registry())
    assert (plain.mechanism, plain.mechanism_tables) == ({}, [])
    assert set(plain.summaries) < set(asked.summaries)


def test_facts_for_sequences_alone_are_refused(place: Path) -> None:
    sets = {"facts": {"path": "data/facts.json"}}
    sets["long"] = sets["facts"] | {"single_edits": False}
    config = study_config(
        editors={"rome": {"options": {"layer": 1}}},
        datasets=sets,
        sequences={"edits": 2},
        mechanism=CHOICE | {"normal": "long"},
    )
    with pytest.raises(ConfigError, match=r"mechanism\.normal: 'long' has `single_edits: false`"):
        plan(parse(config, "study.yaml"), "study.yaml", load_registry())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"editor": "rme"}, "mechanism.editor: .* label 'rme'.* 'rome'"),
        ({"normal": "fact"}, "mechanism.normal: .* label 'fact'"),
        ({"hard": "hrd"}, "mechanism.hard: .* label 'hrd'"),
        ({"collapse": "facts"}, "mechanism: `collapse` is now called `hard`; rename this key"),
        ({"editor": "noop"}, "mechanism.editor: 'noop' does not search for v"),
    ],
)
def test_what_cannot_work_is_refused(planned, changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(**changes)
