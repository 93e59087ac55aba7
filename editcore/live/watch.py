"""Follows a run of the workflow and writes about it, in a live block or as plain lines."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from editcore.config.collapse import CollapseSection
from editcore.errors import EditcoreError
from editcore.live import findings, job_progress, lines
from editcore.live.findings import Finding
from editcore.live.frame import Shown, frame, summary
from editcore.live.run_state import RunningJob, RunState
from editcore.live.terminal import USUAL, LiveBlock
from editcore.live.time_left import earlier_seconds, estimate
from editcore.numbers import duration
from editcore.planning.jobs import read
from editcore.planning.paths import RESULTS, STUDY_FILE
from editcore.planning.study import StudyList

# Seconds between two summaries in a log file.
SUMMARY_SECONDS = 60.0
PAGE = RESULTS / "report.html"
# The rule that only collects the results of others; it is no job of the study.
TARGET = "all"


class Watch:
    """A run as it is followed: its state, and the stream that hears of it.

    Events come in one thread, `show` is called in another, and `leave` in any.
    """

    def __init__(self, stream: TextIO, *, live: bool, color: bool, dry_run: bool) -> None:
        self.state = RunState(started=time.monotonic())
        self._block = LiveBlock(stream, color=color)
        self._live = live
        self._dry_run = dry_run
        self._rule = CollapseSection()
        self._findings: dict[Path, Finding] = {}
        self._earlier: Mapping[str, float] = {}
        self._summed_up = self.state.started
        self._lock = threading.Lock()

    @property
    def planned(self) -> bool:
        """Whether the jobs of this run are known."""
        return bool(self.state.planned)

    def plan(self, counts: Mapping[str, int]) -> None:
        """Take over how many jobs of each rule there are; the study's files are written by now."""
        if self.planned:
            return
        with self._lock:
            rules = {rule: n for rule, n in counts.items() if rule not in (TARGET, "total")}
            self.state.plan(rules)
            self._earlier = earlier_seconds(RESULTS, rules)
        if not self._live:
            self._block.above(lines.job_table(rules))
        if not self._dry_run:
            self._find_all()

    def start(
        self, number: int, rule: str, title: str, logs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        """A job begins."""
        if rule == TARGET:
            return
        job = RunningJob(rule, title, time.monotonic(), tuple(logs), tuple(outputs))
        with self._lock:
            self.state.start(number, job)
        if not self._dry_run:
            self._log("started", title)

    def finish(self, number: int) -> None:
        """A job has ended well; what it found is read from its table."""
        with self._lock:
            done = self.state.finish(number, time.monotonic())
        if done is None:
            return
        for table in map(Path, done.job.outputs):
            if found := findings.read(table, self._rule):
                self._findings[table] = found
        self._log("finished", f"{done.job.title} ({duration(round(done.seconds))})")

    def fail(self, number: int, rule: str, logs: Sequence[str]) -> None:
        """A job has failed: this stays on the screen."""
        with self._lock:
            done = self.state.fail(number, rule, logs, time.monotonic())
        self._block.above(lines.failure(done, logs))
        self.show()

    def say(self, message: str) -> None:
        """Write a message that stays on the screen."""
        if text := message.strip("\n"):
            self._block.above([text])

    def show(self) -> None:
        """Renew the view; in a log file, write a summary if the last one is long ago."""
        now = time.monotonic()
        if self._dry_run or not self.state.total:
            return
        if self._live:
            size = self._block.size()
            with self._lock:
                drawn = frame(self.state, self._shown(now), now, size.columns - 1, size.lines - 1)
            self._block.draw(drawn)
        elif now - self._summed_up >= SUMMARY_SECONDS:
            self._summed_up = now
            with self._lock:
                self._log("so far", summary(self.state, self._shown(now), now))

    def leave(self) -> None:
        """Remove the view; nothing more is drawn."""
        self._block.close()

    def end(self) -> None:
        """Remove the view and write how the run has ended."""
        self._block.close()
        if self._dry_run:
            if self.planned:
                self._block.above(lines.dry_run([j.title for j in self.state.running.values()]))
        elif self.planned:
            page = str(PAGE) if self.state.done("report") and PAGE.is_file() else None
            found = findings.summed(self._findings.values())
            width = USUAL.columns if not self._live else self._block.size().columns - 1
            self._block.above(lines.ending(self.state, found, page, time.monotonic(), width))

    def _shown(self, now: float) -> Shown:
        progress = {
            number: found
            for number, job in self.state.running.items()
            if (found := job_progress.read(job.logs))
        }
        left = estimate(self.state, now, progress, self._earlier)
        return Shown(progress, left, findings.summed([*self._findings.values()]))

    def _find_all(self) -> None:
        """Read the study's rule of collapse, and the tables that earlier runs have finished."""
        try:
            manifest = read(StudyList, STUDY_FILE)
        except EditcoreError:  # a run without a study, such as one that makes the bundled world
            return
        self._rule = manifest.config.collapse
        tables = [Path(table) for table in (*manifest.edits, *manifest.sequences)]
        self._findings.update(findings.by_table(tables, self._rule))

    def _log(self, what: str, text: str) -> None:
        if not self._live:
            self._block.above([f"{time.strftime('%H:%M:%S')}  {what:<8}  {text}"])
