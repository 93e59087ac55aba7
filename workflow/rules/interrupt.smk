# Ctrl-C also reaches every job. One sentence replaces Snakemake's reports on the end of each job, which
# look like a crash.
import logging
import os
import signal
import sys
import threading
import time

from editcore_start import interrupted
from snakemake.logging import logger
from snakemake_logger_plugin_editcore import LogHandler

pressed = []


def interrupt(number, frame):
    """Print the sentence; Snakemake then ends the jobs as usual, without logging."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for a second Ctrl-C
    pressed.append(number)
    for handler in workflow.logger_manager.plugin_handlers:
        if isinstance(handler, LogHandler):
            handler.interrupt()
    # Not `print`, which the signal may have interrupted.
    os.write(sys.stderr.fileno(), interrupted().encode())
    # Before the first job, Snakemake would print a traceback.
    raise KeyboardInterrupt if getattr(workflow, "scheduler", None) else SystemExit(130)


def uninterrupted(record):
    """Whether to log a record: none after Ctrl-C."""
    # Signals are handled in the main thread; a job's thread may report the job's end before that.
    if (
        record.levelno >= logging.ERROR
        and threading.current_thread() is not threading.main_thread()
    ):
        time.sleep(1)
    return not pressed


if workflow.is_main_process and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, interrupt)
    logger.addFilter(uninterrupted)
