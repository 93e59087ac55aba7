"""The live view's lines, as a function of the run's state."""

import pytest

from editcore.live.findings import Finding
from editcore.live.frame import Shown, frame, spread
from editcore.live.job_progress import JobProgress
from editcore.live.run_state import RunState
from editcore.live.time_left import TimeLeft
from tests.live.runs import in_the_middle, job

FOUND = (
    Finding("edits", "tiny", "rome", 31, 120, 0),
    Finding("edits", "tiny", "c-rome", 0, 120, 0),
    Finding("sequences", "tiny", "rome", 1, 1, 0),
)
SHOWN = Shown({3: JobProgress(0.5, "40 of 80 edits")}, TimeLeft(40, True), FOUND)


def test_a_frame_has_the_run_its_jobs_its_stages_and_its_collapses() -> None:
    assert frame(in_the_middle(), SHOWN, now=30.0, width=80, height=30) == [
        "2 of 6 jobs done, 30 s, about 40 s left",
        "> Edit tiny with rome on facts, shard 003                   40 of 80 edits, 10 s",
        "> Edit tiny with rome on facts, shard 004                                    4 s",
        "  done: prefixes",
        "  edit    ####............  1 of 4",
        "  report  ................  0 of 1",
        "collapsed edits so far",
        "  rome    tiny 31 of 120",
        "  c-rome  tiny 0 of 120",
        "collapsed sequences so far",
        "  rome  tiny 1 of 1",
    ]


@pytest.mark.parametrize("width", [10, 20, 39, 80, 200])
@pytest.mark.parametrize("height", [1, 4, 8, 40])
def test_a_frame_fits_every_terminal(width: int, height: int) -> None:
    state = in_the_middle()
    for number in range(50):
        state.start(100 + number, job("edit", f"Edit a model with a long name, {number}", 27.0))
    lines = frame(state, SHOWN, 30.0, width, height)
    assert 1 <= len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("2 of 6 job")


def test_what_does_not_fit_is_counted() -> None:
    state = RunState(started=0.0, planned={"edit": 60})
    for number in range(50):
        state.start(number, job("edit", f"Edit {number}", 0.0))
    lines = frame(state, Shown(), 1.0, 80, 12)
    assert "  and 41 more" in lines
    assert lines[-1] == "  edit  ................  0 of 60"


def test_failures_are_in_the_first_line_and_at_their_stage() -> None:
    state = in_the_middle()
    state.fail(3, "edit", (), 30.0)
    lines = frame(state, Shown(), 30.0, 80, 20)
    assert lines[0].startswith("2 of 6 jobs done, 1 failed, ")
    assert any(line.startswith("  edit ") and line.endswith("1 of 4, 1 failed") for line in lines)


def test_a_narrow_terminal_drops_progress_before_titles_and_models_before_counts() -> None:
    assert spread("> Edit tiny", ["40 of 80 edits", "10 s"], 20) == "> Edit tiny     10 s"
    lines = frame(in_the_middle(), SHOWN, 30.0, 22, 30)
    assert "  rome    31 of 120" in lines or "  rome    tiny 31 of 120" in lines
