"""A running study as plain lines, for log files, and what is printed when it has ended."""

from collections.abc import Sequence
from pathlib import Path

from editcore.live.findings import EDITS, Finding
from editcore.live.frame import finding_lines
from editcore.live.job_progress import tail
from editcore.live.run_state import FinishedJob, RunningJob, RunState
from editcore.numbers import duration, plural

# Lines of a failed job's log that are printed; the file has all of them.
LOG_LINES = 60
LOG_BYTES = 2**16
# A dry run lists its jobs one by one up to this number.
MOST_LISTED = 40


def job_table(planned: dict[str, int]) -> list[str]:
    """The number of jobs of each rule, and of all.

    >>> job_table({"edit": 12, "report": 1})
    ['edit    12', 'report   1', 'total   13']
    """
    rows = {**planned, "total": sum(planned.values())}
    names, digits = max(map(len, rows)), max(len(str(n)) for n in rows.values())
    return [f"{rule:<{names}}  {n:>{digits}}" for rule, n in rows.items()]


def dry_run(titles: Sequence[str]) -> list[str]:
    """The jobs that would run, a line each; only a hint if there are many."""
    if len(titles) > MOST_LISTED:
        return [f"{plural(len(titles), 'job')} would run; --verbose lists each of them"]
    return ["These jobs would run:", *(f"  {title}" for title in titles)]


def failure(done: FinishedJob, logs: Sequence[str]) -> list[str]:
    """A failed job: its title and time, and the end of each of its logs, after the file's name."""
    lines = [f"FAILED after {duration(round(done.seconds))}: {done.job.title}"]
    for log in filter(_is_log, logs):
        content = tail(log, LOG_BYTES)
        kept = content[-LOG_LINES:]
        which = f"its last {len(kept)} lines" if len(kept) < len(content) else "its log"
        lines += [f"  {log} ({which if content else 'empty or missing'}):"]
        lines += [f"    {line}" for line in kept]
    return lines


def _is_log(file: str) -> bool:
    """Whether a file is a log; rules also list the file of what their command used."""
    return Path(file).suffix != ".json"


def ending(
    state: RunState, findings: Sequence[Finding], page: str | None, now: float, width: int
) -> list[str]:
    """What is printed last: the time, the failures, the collapses, and where the page is."""
    took = duration(round(now - state.started))
    done, total = state.done(), state.total
    if done == total:
        lines = [f"Done: {plural(total, 'job')} in {took}."]
    else:
        lines = [f"Not finished: {done} of {plural(total, 'job')} done in {took}."]
    lines += [line.replace(" so far", "") for line in finding_lines(findings, width)]
    if failed := sum(finding.failed for finding in findings if finding.kind == EDITS):
        lines.append(f"{plural(failed, 'edit')} failed; the tables give the reasons")
    if state.failed:
        lines.append(f"{plural(len(state.failed), 'job')} failed:")
        lines += [_named(job) for job in state.failed.values()]
        lines.append("The same command runs again what is missing.")
    if page:
        lines.append(f"The page: {page}")
    return lines


def _named(job: RunningJob) -> str:
    log = next(filter(_is_log, job.logs), None)
    return f"  {job.title}" + (f" ({log})" if log else "")
