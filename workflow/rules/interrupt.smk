# Ctrl-C reaches every job too. One sentence takes the place of what Snakemake would report of each
# job's end, which reads like a crash.
import logging
import os
import shlex
import signal
import sys
import threading
import time

from snakemake.logging import logger

INTERRUPTED = """
The study was interrupted. Finished jobs are kept; this resumes it:
  {command}
"""
pressed = []


def interrupt(number, frame):
    """Print the sentence; Snakemake then ends the jobs as always, and its log is silent."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for whoever presses it again
    pressed.append(number)
    typed = os.environ.get("EDITCORE_COMMAND") or shlex.join(["snakemake", *sys.argv[1:]])
    # Not `print`, which a signal may have stopped halfway.
    os.write(sys.stderr.fileno(), INTERRUPTED.format(command=typed).encode())
    # Before there are jobs, Snakemake would print where in its code it was.
    raise KeyboardInterrupt if getattr(workflow, "scheduler", None) else SystemExit(130)


def uninterrupted(record):
    """Whether to log something: nothing is, once Ctrl-C was pressed."""
    # Signals are handled in the main thread, and a job's may be faster to report the job's end.
    if (
        record.levelno >= logging.ERROR
        and threading.current_thread() is not threading.main_thread()
    ):
        time.sleep(1)
    return not pressed


if workflow.is_main_process and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, interrupt)
    logger.addFilter(uninterrupted)
