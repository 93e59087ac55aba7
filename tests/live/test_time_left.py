"""The time that a run still takes, from jobs of the same rules."""

import json
from pathlib import Path

import pytest

from editcore.live.job_progress import JobProgress
from editcore.live.run_state import RunState
from editcore.live.time_left import TimeLeft, earlier_seconds, estimate
from tests.live.runs import in_the_middle, job


def test_nothing_is_known_before_the_first_job_is_done() -> None:
    state = RunState(started=0.0, planned={"edit": 2})
    state.start(1, job("edit", "first", 0.0))
    assert estimate(state, 5.0, {}, {}) is None


def test_jobs_of_a_rule_take_as_long_as_those_before_them() -> None:
    state = RunState(started=0.0, planned={"edit": 5}, at_once=2)
    state.start(1, job("edit", "first", 0.0))
    state.finish(1, 10.0)
    assert estimate(state, 10.0, {}, {}) == TimeLeft(4 * 10 / 2, whole=True)
    state.at_once = None
    assert estimate(state, 10.0, {}, {}) == TimeLeft(10, whole=True), "all at once"


def test_a_running_job_is_extrapolated_from_its_progress_and_bounds_the_rest() -> None:
    state = in_the_middle()
    progress = {3: JobProgress(0.1, "1 of 10 edits")}
    left = estimate(state, 30.0, progress, {})
    assert left is not None and left.seconds == pytest.approx(90)  # 10 s for a tenth


def test_earlier_runs_are_used_until_this_one_has_times(tmp_path: Path) -> None:
    for number, seconds in enumerate((10, 20)):
        file = tmp_path / "benchmarks" / "edits" / f"{number}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"seconds": seconds}))
    (tmp_path / "benchmarks" / "edits" / "broken.json").write_text("{")
    earlier = earlier_seconds(tmp_path, ["edit", "sequence", "report"])
    assert earlier == {"edit": 15.0}

    state = RunState(started=0.0, planned={"edit": 2, "report": 1}, at_once=1)
    assert estimate(state, 0.0, {}, earlier) == TimeLeft(30, whole=True)
    state.start(1, job("edit", "first", 0.0))
    state.finish(1, 2.0)
    assert estimate(state, 2.0, {}, earlier) == TimeLeft(2, whole=True)


def test_jobs_without_a_model_take_seconds() -> None:
    state = RunState(started=0.0, planned={"report": 1})
    assert estimate(state, 0.0, {}, {}) == TimeLeft(0, whole=True)


def test_unknown_rules_make_the_estimate_a_lower_bound() -> None:
    state = RunState(started=0.0, planned={"edit": 2, "sequence": 1}, at_once=1)
    left = estimate(state, 0.0, {}, {"edit": 5.0})
    assert left == TimeLeft(10, whole=False)
    assert left.in_words() == "at least 10 s left"
