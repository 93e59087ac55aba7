"""Estimates how long a run will take from here, from the times of jobs of the same rules."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from editcore.live.job_progress import JobProgress
from editcore.live.run_state import RunState
from editcore.numbers import duration

# The rules whose jobs load a model, and their folders in `results/benchmarks`. Jobs of other rules
# take seconds.
FOLDERS = {
    **{rule: rule for rule in ("prefixes", "rounding", "texts", "moments", "train", "values")},
    **{rule: rule for rule in ("downstream", "layers", "mechanism")},
    "spectrum": "spectra",
    "anchor": "anchors",
    "edit": "edits",
    "sequence": "sequences",
    "survive": "survival",
}


@dataclass(frozen=True)
class TimeLeft:
    """Seconds until the run ends; `whole` is False if some jobs' times are not known yet."""

    seconds: float
    whole: bool

    def in_words(self) -> str:
        """The estimate in words.

        >>> TimeLeft(600, True).in_words(), TimeLeft(600, False).in_words()
        ('about 10 min left', 'at least 10 min left')
        >>> TimeLeft(0, True).in_words()
        'seconds left'
        """
        if self.whole and self.seconds < 1:
            return "seconds left"
        return f"{'about' if self.whole else 'at least'} {duration(round(self.seconds))} left"


def earlier_seconds(results: Path, rules: Iterable[str]) -> dict[str, float]:
    """The mean seconds of each rule's jobs in earlier runs; rules without any are left out."""
    means = {}
    for rule in FOLDERS.keys() & set(rules):
        folder = results / "benchmarks" / FOLDERS[rule]
        times = [seconds for file in folder.rglob("*.json") if (seconds := _seconds(file))]
        if times:
            means[rule] = fmean(times)
    return means


def _seconds(file: Path) -> float | None:
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def estimate(
    state: RunState,
    now: float,
    progress: Mapping[int, JobProgress],
    earlier: Mapping[str, float],
) -> TimeLeft | None:
    """The time left; None before anything is known about any job that is left.

    A rule's time is the mean of its finished jobs in this run, or else of those of an earlier one
    (`earlier`). A running job with `progress` is extrapolated instead. Work is divided by the
    number of jobs that run at once; no estimate is below the longest running job's.
    """
    means = {**earlier, **_means(state)}
    running = []
    for number, job in state.running.items():
        elapsed = now - job.started
        if (known := progress.get(number)) and known.share > 0:
            running.append(elapsed * (1 - known.share) / known.share)
        elif job.rule in means:
            running.append(max(means[job.rule] - elapsed, 0.0))
    waiting = state.waiting()
    known_rules = waiting.keys() & means.keys()
    unknown = (waiting.keys() | {job.rule for job in state.running.values()}) & FOLDERS.keys()
    whole = not unknown - means.keys()
    if not running and not known_rules and not whole:
        return None
    work = sum(running) + sum(waiting[rule] * means[rule] for rule in known_rules)
    left = len(state.running) + sum(waiting.values())
    at_once = max(1, min(left, state.at_once or left))
    return TimeLeft(max(work / at_once, *running, 0.0), whole)


def _means(state: RunState) -> dict[str, float]:
    times = defaultdict(list)
    for done in state.finished.values():
        times[done.job.rule].append(done.seconds)
    return {rule: fmean(seconds) for rule, seconds in times.items()}
