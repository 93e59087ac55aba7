"""Cases of several facts in a study: what is planned for them, and what refuses them."""

from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import parse
from editcore.errors import ConfigError
from editcore.planning.planner import plan
from editcore.planning.study import Study
from editcore.registry.registry import load_registry
from tests.planning.conftest import Planner
from tests.several import knowing
from tests.studies import record, study_config, write_json

PATH = "data/several.json"


@pytest.fixture
def planned(place: Path) -> Planner:
    """Plan a study of ROME; three of five cases have two facts, and shards have two cases."""
    facts = [record(number, subject) for number, subject in enumerate(("Coral", "Harbor"))]
    cases = [{"case_id": n, "facts": facts[: 2 if 0 < n < 4 else 1]} for n in range(5)]
    write_json(Path(PATH), cases)

    def run(limit: int | None = None, **sections: Any) -> Study:
        several = {"path": PATH, "format": "several", "limit": limit}
        sets = {"several": several, "facts": {"path": "data/facts.json"}}
        sections = {"shard_size": 2, "datasets": sets, **sections}
        config = study_config(editors={"rome": {"options": {"layer": 1}}}, **sections)
        return plan(parse(config, "study.yaml"), "study.yaml", knowing(load_registry()))

    return run


def test_values_are_planned_for_the_cases_of_one_fact(planned: Planner) -> None:
    study = planned()
    shards = {key.shard: job for key, job in study.edits.items() if key.dataset == "several"}
    searches = {key.shard: job for key, job in study.values.items() if key.dataset == "several"}
    assert [job.case_ids for job in shards.values()] == [(0, 1), (2, 3), (4,)]
    assert {n: job.case_ids for n, job in searches.items()} == {"000": (0,), "002": (4,)}
    assert [len(job.values) for job in shards.values()] == [1, 0, 1]


MECHANISM = {"mechanism": {"editor": "rome", "hard": "facts", "normal": "several"}}


@pytest.mark.parametrize(
    ("section", "where"), [({"sequences": {}}, "sequences.datasets"), (MECHANISM, "mechanism.norm")]
)
def test_stages_of_single_facts_refuse_them(
    planned: Planner, section: dict[str, Any], where: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{where}.*: case 1 of 'several' has several facts,"):
        planned(**section)
    assert planned(limit=1, **section).edits, "the cases that are edited have one fact"


def test_sequences_of_other_data_sets_are_planned(planned: Planner) -> None:
    study = planned(sequences={"datasets": ["facts"]})
    assert {key.dataset for key in study.sequences} == {"facts"}
