"""The state of a run counts each job once, whatever happens to it."""

from editcore.live.run_state import RunState
from tests.live.runs import PLANNED, in_the_middle, job


def test_every_planned_job_is_waiting_running_finished_or_failed() -> None:
    state = in_the_middle()
    state.fail(3, "edit", (), 31.0)
    counted = sum(state.waiting().values()) + len(state.running) + state.done() + len(state.failed)
    assert counted == state.total == sum(PLANNED.values())
    assert state.waiting() == {"edit": 1, "report": 1}
    assert (state.done("edit"), state.done("prefixes"), state.done()) == (1, 1, 2)


def test_a_job_that_is_tried_again_has_not_failed() -> None:
    state = in_the_middle()
    failed = state.fail(3, "edit", (), 31.0)
    assert (failed.job.title, failed.seconds) == ("Edit tiny with rome on facts, shard 003", 11.0)
    state.start(3, job("edit", "again", 32.0))
    assert state.failed == {}
    done = state.finish(3, 40.0)
    assert done is not None and done.seconds == 8.0


def test_unknown_jobs_do_not_stop_anything() -> None:
    state = RunState(started=0.0)
    assert state.finish(7, 1.0) is None
    assert state.fail(8, "edit", ("a.log",), 1.0).job.logs == ("a.log",)
