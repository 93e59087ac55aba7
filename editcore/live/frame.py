"""The live view of a running study: the lines that a terminal shows, and renews every second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from editcore.live.findings import KINDS, Finding
from editcore.live.job_progress import JobProgress
from editcore.live.run_state import RunState
from editcore.live.time_left import TimeLeft
from editcore.numbers import duration, plural

BAR = 16  # characters
# Of a frame's lines, those that are shown first if the terminal has too few.
MOST_RUNNING, FEWEST_FINDINGS = 4, 2
NO_ESTIMATE = "time left not known yet"


@dataclass(frozen=True)
class Shown:
    """What the view knows besides the run's state: progress within jobs, time left, findings."""

    progress: Mapping[int, JobProgress] = field(default_factory=dict)
    left: TimeLeft | None = None
    findings: Sequence[Finding] = ()


def frame(state: RunState, shown: Shown, now: float, width: int, height: int) -> list[str]:
    """The lines of the view, at most `height`, none of them longer than `width` characters.

    The first line sums the run up. Then come the running jobs, the stages and the collapses; if
    there are too many, the last lines of each part are counted instead.
    """
    running = running_lines(state, shown.progress, now, width)
    stages = stage_lines(state, width)
    found = finding_lines(shown.findings, width)
    space = height - 1
    running = shortened(running, max(MOST_RUNNING, space - len(stages) - len(found)))
    found = shortened(found, max(FEWEST_FINDINGS, space - len(running) - len(stages)))
    stages = shortened(stages, max(1, space - len(running) - len(found)))
    lines = [summary(state, shown, now), *running, *stages, *found]
    return [line[:width] for line in lines[: max(height, 1)]]


def summary(state: RunState, shown: Shown, now: float) -> str:
    """The run in one line: jobs done, failures, time so far and time left.

    >>> state = RunState(started=0.0, planned={"edit": 8})
    >>> summary(state, Shown(), now=9.0)
    '0 of 8 jobs done, 9 s, time left not known yet'
    """
    left = NO_ESTIMATE if shown.left is None else shown.left.in_words()
    failed = f", {len(state.failed)} failed" if state.failed else ""
    so_far = duration(round(now - state.started))
    return f"{state.done()} of {plural(state.total, 'job')} done{failed}, {so_far}, {left}"


def running_lines(
    state: RunState, progress: Mapping[int, JobProgress], now: float, width: int
) -> list[str]:
    """A line for each running job: its title, and at the right how far it is and for how long."""
    lines = []
    for number, job in state.running.items():
        known = progress.get(number)
        words = [known.words] if known else []
        lines.append(spread(f"> {job.title}", [*words, duration(round(now - job.started))], width))
    return lines


def spread(left: str, right: Sequence[str], width: int) -> str:
    """A text and others at the right margin; if they do not all fit, the text is cut last.

    >>> spread("Edit tiny", ["3 of 8 cases", "12 s"], 20)
    'Edit tiny       12 s'
    """
    for first in range(len(right)):
        end = ", ".join(right[first:])
        if len(left) + 2 + len(end) <= width or first == len(right) - 1:
            room = max(width - len(end) - 2, 0)
            return f"{left[:room]:<{room}}  {end}"[:width]
    return left[:width]


def stage_lines(state: RunState, width: int) -> list[str]:
    """A line for each unfinished rule with a bar and its jobs; one with the finished rules."""
    counts = {rule: (state.done(rule), total) for rule, total in state.planned.items()}
    finished = [rule for rule, (done, total) in counts.items() if done == total]
    names = max((len(rule) for rule in counts.keys() - set(finished)), default=0)
    lines = [f"  done: {', '.join(finished)}"] if finished else []
    for rule, (done, total) in counts.items():
        if done == total:
            continue
        failed = sum(job.rule == rule for job in state.failed.values())
        size = BAR if names + BAR + 20 <= width else 0
        filled = size * done // total
        bar = f"{'#' * filled}{'.' * (size - filled)}  " if size else ""
        end = f", {failed} failed" if failed else ""
        lines.append(f"  {rule:<{names}}  {bar}{done} of {total}{end}")
    return lines


def finding_lines(findings: Sequence[Finding], width: int) -> list[str]:
    """A line for each editor, most collapses first: how many of its edits collapsed each model."""
    lines = []
    for kind in KINDS:
        of = [finding for finding in findings if finding.kind == kind]
        if not of:
            continue
        lines.append(f"collapsed {kind} so far")
        editors = list(dict.fromkeys(finding.editor for finding in of))
        names = max(map(len, editors))
        for editor in editors:
            own = sorted((f for f in of if f.editor == editor), key=lambda f: f.model)
            text = ", ".join(f"{f.model} {f.collapsed} of {f.total}" for f in own)
            line = f"  {editor:<{names}}  {text}"
            if len(line) > width:
                collapsed, total = sum(f.collapsed for f in own), sum(f.total for f in own)
                line = f"  {editor:<{names}}  {collapsed} of {total}"
            lines.append(line)
    return lines


def shortened(lines: list[str], most: int) -> list[str]:
    """The first lines, and how many more there are; all if they fit.

    >>> shortened(["a", "b", "c"], 2)
    ['a', '  and 2 more']
    """
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"  and {len(lines) - most + 1} more"]
