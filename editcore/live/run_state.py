"""The state of a running study: its jobs by rule, those that run now, and those that failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunningJob:
    """A job that has started. `title` is its rule's message; times are seconds of one clock."""

    rule: str
    title: str
    started: float
    logs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class FinishedJob:
    """A job that has ended well, and the seconds that it took."""

    job: RunningJob
    seconds: float


@dataclass
class RunState:
    """What has happened in a run of the workflow, by Snakemake's numbers of jobs.

    `planned` counts the jobs of each rule in this run; `at_once` is how many can run at the same
    time, None if that is not known. A job that is tried again is no longer among the failed ones.
    """

    started: float
    planned: dict[str, int] = field(default_factory=dict)
    at_once: int | None = None
    running: dict[int, RunningJob] = field(default_factory=dict)
    finished: dict[int, FinishedJob] = field(default_factory=dict)
    failed: dict[int, RunningJob] = field(default_factory=dict)

    def plan(self, counts: Mapping[str, int]) -> None:
        """Note the number of jobs of each rule, in the order in which rules are shown."""
        self.planned = dict(counts)

    def start(self, number: int, job: RunningJob) -> None:
        """Note that a job has started, perhaps once more after a failure."""
        self.failed.pop(number, None)
        self.running[number] = job

    def finish(self, number: int, now: float) -> FinishedJob | None:
        """Note that a job has ended well; None if it was not known to run."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        self.finished[number] = FinishedJob(job, now - job.started)
        return self.finished[number]

    def fail(self, number: int, rule: str, logs: Sequence[str], now: float) -> FinishedJob:
        """Note that a job has failed; the job as it was known, and the seconds that it took."""
        job = self.running.pop(number, None) or RunningJob(rule, rule, now, logs=tuple(logs))
        self.failed[number] = job
        return FinishedJob(job, now - job.started)

    @property
    def total(self) -> int:
        """The number of jobs in this run."""
        return sum(self.planned.values())

    def done(self, rule: str | None = None) -> int:
        """The number of finished jobs, of one rule or of all."""
        rules = [done.job.rule for done in self.finished.values()]
        return len(rules) if rule is None else rules.count(rule)

    def waiting(self) -> dict[str, int]:
        """The number of jobs of each rule that have not started."""
        begun = [*(f.job for f in self.finished.values()), *self.running.values()]
        rules = [job.rule for job in [*begun, *self.failed.values()]]
        return {
            rule: left for rule, n in self.planned.items() if (left := n - rules.count(rule)) > 0
        }
