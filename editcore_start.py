"""Starts `editcore`, or Snakemake: Ctrl-C while their libraries are imported is one sentence, too.

A module of its own, because a package is imported before any of its modules can catch something.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

started = time.monotonic()
"""When this process began, which may be one that was forked for a job."""
STOPPED = 130  # as shells report a program that Ctrl-C ended
WARM = "EDITCORE_WARM"  # names the socket of such a process
INTERRUPTED = """
The study was interrupted. Finished jobs are kept; this resumes it:
  {command}
"""


def editcore() -> None:
    """The command line, where possible in a process of the study that has its libraries loaded."""
    _until_imported(lambda: "editcore: stopped\n")
    if WARM in os.environ:
        from editcore_warm import end_as, ended_elsewhere

        if (status := ended_elsewhere()) is not None:
            end_as(status)
    editcore_here()


def editcore_here() -> None:
    """The command line in this process; once it is imported, it has its own way to stop."""
    _until_imported(lambda: "editcore: stopped\n")
    import editcore_lean
    from editcore.cli import main

    editcore_lean.install()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def become_study(arguments: Sequence[str]) -> NoReturn:
    """Replace this process, `editcore run`, by `study` with `arguments`, in the same folder."""
    os.environ.setdefault("EDITCORE_COMMAND", shlex.join(["editcore", "run", *arguments]))
    os.execv(sys.executable, [sys.executable, "-P", "-m", __name__, *arguments])


def study() -> None:
    """Snakemake with this process's arguments; its Snakefile has a way of its own to stop."""
    sys.argv[0] = "snakemake"
    _until_imported(interrupted)
    from snakemake.cli import main

    main()


def interrupted() -> str:
    """What an interrupted study prints, with the command that resumes it."""
    typed = os.environ.get("EDITCORE_COMMAND") or shlex.join(["snakemake", *sys.argv[1:]])
    return INTERRUPTED.format(command=typed)


def _until_imported(sentence: Callable[[], str]) -> None:
    """Let Ctrl-C print a sentence and end the process at once, unless Ctrl-C is ignored.

    So far nothing needs to be tidied up, and libraries may turn an exception into one of theirs.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        os.write(sys.stderr.fileno(), sentence().encode())
        os._exit(STOPPED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


if __name__ == "__main__":
    study()
