"""What a command uses in a process of its own: seconds, processor time and peak memory.

    python -P benchmarks/process.py COMMAND…

runs the command and prints these numbers as JSON; what the command prints goes to standard error.
It imports little, so that it takes nothing from what it measures.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Seconds between two looks at the peak, which a process takes with it when it ends.
LOOK = 0.05
LAST_WORDS = 12


class CommandFailed(RuntimeError):
    """A measured command failed; the message is the end of its output."""


@dataclass(frozen=True)
class Used:
    """Seconds, processor seconds of the process and all that it started, and its own peak in MB."""

    seconds: float
    cpu: float
    memory: float


def used(command: Sequence[str], folder: Path, log: Path, **environment: str) -> Used:
    """What a command used, run in a folder with its output in `log`; `CommandFailed` if it fails.

    `environment` has variables that the command gets in addition.
    """
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-P", __file__, *command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
    if done.returncode:
        words = log.read_text().strip().splitlines()[-LAST_WORDS:]
        raise CommandFailed("\n".join(words) or f"a command ended with {done.returncode}")
    return Used(**json.loads(done.stdout))


def measured(command: Sequence[str]) -> tuple[int, Used]:
    """The status of a command that this process runs, and what it used.

    Processes that it leaves to themselves are waited for, since their processor time counts too.
    The command ends with this process.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr, preexec_fn=_end_with_parent)
    ended = os.pidfd_open(process.pid)
    memory = 0.0
    while not select.select([ended], [], [], LOOK)[0]:
        memory = _peak(process.pid) or memory
    seconds = time.perf_counter() - started
    status = process.wait()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, Used(seconds, children.ru_utime + children.ru_stime, memory)


def _end_with_parent() -> None:
    """Let this process get SIGTERM when the one that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _peak(process: int) -> float | None:
    """The most memory that a process had so far, in MB (10^6 bytes); None if it has just ended.

    Unlike `ru_maxrss`, this is neither that of processes it started nor of the one that started it.
    """
    status = Path(f"/proc/{process}/status").read_text()
    found = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return next((int(line.split()[1]) * 1024 / 1e6 for line in found), None)


def main() -> None:
    """Run the command of the arguments; end as it does."""
    _end_with_parent()
    status, found = measured(sys.argv[1:])
    print(json.dumps(asdict(found)))
    sys.exit(abs(status))


if __name__ == "__main__":
    main()
