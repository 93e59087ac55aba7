"""Plain lines of a run: its table of jobs, failures, and the end."""

from pathlib import Path

from editcore.live import lines
from editcore.live.findings import Finding
from editcore.live.run_state import FinishedJob
from tests.live.runs import in_the_middle, job


def test_a_failure_shows_the_end_of_its_log_and_names_the_file(tmp_path: Path) -> None:
    log = tmp_path / "edit.log"
    log.write_text("".join(f"line {n}\n" for n in range(200)) + "editcore: no such layer\n")
    logs = (str(log), str(tmp_path / "usage.json"))
    shown = lines.failure(FinishedJob(job("edit", "Edit tiny", 0.0, logs=logs), 3.2), logs)
    assert shown[0] == "FAILED after 3 s: Edit tiny"
    assert shown[1] == f"  {log} (its last {lines.LOG_LINES} lines):"
    assert shown[-1] == "    editcore: no such layer"
    assert not any("usage.json" in line for line in shown)


def test_a_failure_without_a_log_says_so(tmp_path: Path) -> None:
    logs = (str(tmp_path / "absent.log"),)
    shown = lines.failure(FinishedJob(job("edit", "Edit tiny", 0.0, logs=logs), 3.2), logs)
    assert shown[1:] == [f"  {logs[0]} (empty or missing):"]


def test_the_end_has_time_collapses_failures_and_page() -> None:
    state = in_the_middle()
    state.running.clear()
    state.failed[3] = job("edit", "Edit tiny, shard 003", 0.0, logs=("results/logs/3.log",))
    found = [Finding("edits", "tiny", "rome", 3, 80, 2)]
    assert lines.ending(state, found, None, 90.0, 80) == [
        "Not finished: 2 of 6 jobs done in 90 s.",
        "collapsed edits",
        "  rome  tiny 3 of 80",
        "2 edits failed; the tables give the reasons",
        "1 job failed:",
        "  Edit tiny, shard 003 (results/logs/3.log)",
        "The same command runs again what is missing.",
    ]


def test_a_dry_run_lists_few_jobs_and_counts_many() -> None:
    assert lines.dry_run(["Edit a", "Edit b"]) == ["These jobs would run:", "  Edit a", "  Edit b"]
    assert lines.dry_run(["Edit"] * 1200) == ["1,200 jobs would run; --verbose lists each of them"]
