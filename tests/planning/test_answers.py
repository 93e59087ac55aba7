"""Which edited models are asked freely is planned over the whole data set, not by shard."""

import pytest

from tests.planning.conftest import Planner


@pytest.mark.parametrize("shard_size", [1, 2, 150])
def test_the_models_asked_do_not_depend_on_the_shards(planned: Planner, shard_size: int) -> None:
    study = planned(shard_size=shard_size, answers={"cases": 2})
    for editor in study.config.editors:
        jobs = [job for key, job in study.edits.items() if key.editor == editor]
        cases = [case for job in jobs for case in job.case_ids]
        asked = [case for job in jobs for case in job.asked or ()]
        assert asked == [cases[0], cases[len(cases) // 2]]
        assert all(job.answers for job in jobs), "a shard of which none is asked has a table, too"


def test_all_models_are_asked_by_default(planned: Planner) -> None:
    assert {job.asked for job in planned(answers={}).edits.values()} == {None}
