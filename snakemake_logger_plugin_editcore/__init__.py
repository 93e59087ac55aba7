"""Snakemake's logger `editcore`: a live view of a study in a terminal, a few lines in a log file.

Snakemake finds the package by its name; `logger: editcore` in a profile selects it. Snakemake's own
log is still written to `.snakemake/log`. With `--verbose`, `--printshellcmds`, `--debug-dag` or
`--quiet`, that is what is shown.
"""

import os
import sys
import threading
from logging import ERROR, WARNING, LogRecord
from typing import TYPE_CHECKING

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

if TYPE_CHECKING:
    from editcore.live.watch import Watch

SECONDS = 1.0  # between two states of the view
# Snakemake's remarks on what it is about to do; they say nothing about the study.
REMARKS = (
    "Assuming unrestricted shared filesystem",
    "Building DAG of jobs",
    "Complete log(s)",
    "Conda environments: ignored",
    "Config file ",
    "Elapsed time",
    "Reasons:",
    "Rules with provenance triggered jobs",
    "Select jobs to execute",
    "Shutting down",
    "Singularity containers: ignored",
    "Some jobs were triggered by provenance",
    "This was a dry-run",
    "Using shell",
    "host:",
)
# The last words of a run with failures; the view has its own.
FAILED = ("Exiting because a job execution failed", "At least one job did not complete")


class LogHandler(LogHandlerBase):
    """Turns Snakemake's events into the state of the study, and shows it."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Choose between Snakemake's own output, the live view and plain lines."""
        asked = self.common_settings
        self._stream = sys.stdout if asked.stdout else sys.stderr
        self._snakemake = None
        self._watch: Watch | None = None
        self._over = threading.Event()
        if asked.verbose or asked.printshellcmds or asked.debug_dag or asked.quiet:
            from snakemake.logging import ColorizingTextHandler, DefaultFormatter

            formatter = DefaultFormatter(asked.quiet, asked.show_failed_logs)
            self._snakemake = ColorizingTextHandler(asked.nocolor, self._stream, formatter)
            return

        from editcore.live import watch

        live = self._stream.isatty() and os.environ.get("TERM") != "dumb" and not asked.dryrun
        color = not asked.nocolor and "NO_COLOR" not in os.environ
        self._watch = watch.Watch(self._stream, live=live, color=color, dry_run=asked.dryrun)

    def emit(self, record: LogRecord) -> None:
        """Show what Snakemake reports; called in one thread, an event at a time."""
        if self._snakemake is not None:
            self._snakemake.emit(record)
            return
        try:
            if self._watch is not None and not self._over.is_set():
                self._follow(self._watch, record)
        except BrokenPipeError:
            self._over.set()
        except Exception:
            self.handleError(record)

    def interrupt(self) -> None:
        """Remove the view; nothing more is shown. Signal handlers may call this."""
        self._over.set()
        if self._watch is not None:
            self._watch.leave()

    def close(self) -> None:
        """Show the end of the run, unless it was interrupted."""
        if self._watch is not None and not self._over.is_set():
            self._over.set()
            self._watch.end()
        super().close()

    def _follow(self, watch: "Watch", record: LogRecord) -> None:
        match getattr(record, "event", None):
            case LogEvent.RUN_INFO:
                begins = not watch.planned
                watch.plan(record.stats)  # type: ignore[attr-defined]
                if begins:
                    threading.Thread(target=self._tick, args=[watch], daemon=True).start()
            case LogEvent.RESOURCES_INFO:
                at_once = getattr(record, "cores", None) or getattr(record, "nodes", None)
                if at_once is not None and at_once != sys.maxsize:
                    watch.state.at_once = at_once
            case LogEvent.JOB_INFO:
                _start(watch, record)
            case LogEvent.JOB_FINISHED:
                watch.finish(record.job_id)  # type: ignore[attr-defined]
            case LogEvent.JOB_ERROR:
                watch.fail(record.jobid, record.rule_name, record.log)  # type: ignore[attr-defined]
            case LogEvent.GROUP_ERROR | LogEvent.ERROR | None:
                if self._is_told(watch, record):
                    watch.say(self.format(record))
            case _ if record.levelno >= WARNING:
                watch.say(self.format(record))

    def _is_told(self, watch: "Watch", record: LogRecord) -> bool:
        """Whether a message that is not about one job is shown: all but remarks."""
        message = record.getMessage()
        if record.levelno >= ERROR:
            return not (watch.state.failed and any(words in message for words in FAILED))
        return record.levelno >= WARNING or not message.strip().startswith(REMARKS)

    def _tick(self, watch: "Watch") -> None:
        while not self._over.wait(SECONDS):
            try:
                watch.show()
            except (OSError, ValueError):  # the terminal is gone
                return


def _start(watch: "Watch", record: LogRecord) -> None:
    """Hand over the job that a record announces."""
    known = record.__dict__
    title = " ".join(str(known["rule_msg"] or known["rule_name"]).split())
    watch.start(known["jobid"], known["rule_name"], title, known["log"], known["output"])
