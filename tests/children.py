"""Forked processes that share this one's imports, to be killed or to race each other."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Work = Callable[[], object]

BROKEN = 99
# A child that takes longer counts as hanging, and is killed.
LONGEST_SECONDS = 60
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# The system calls that change names; with `open` for writing, these are all that we use.
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status, None if it was killed, and its output."""

    status: int | None
    output: str

    @property
    def plain(self) -> bool:
        """Whether it succeeded or was refused with one sentence."""
        return self.status == 0 or (
            self.status == 2
            and "Traceback" not in self.output
            and self.output.splitlines()[-1].startswith("editcore: error: ")
        )


class Child:
    """A process that starts `work` at once, with its output in a file."""

    def __init__(self, work: Work, log: Path) -> None:
        self.log = log
        self.pid = os.fork()
        if not self.pid:
            self._run(work)

    def _run(self, work: Work) -> None:
        status = BROKEN
        signal.alarm(LONGEST_SECONDS)
        try:
            with self.log.open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            work()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else BROKEN
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Wait for it, and return how it ended."""
        _, code = os.waitpid(self.pid, 0)
        killed = os.WIFSIGNALED(code)
        return Ended(None if killed else os.WEXITSTATUS(code), self.log.read_text())


def killed_after(seconds: float, work: Work, log: Path) -> Ended:
    """Run `work` in a child and kill it after it has written for a time, unless it has ended."""
    child, _ = _writing(work, log)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    return child.wait()


def seconds_of_writing(work: Work, log: Path) -> float:
    """How long an undisturbed child writes; raises `AssertionError` if it fails."""
    child, began = _writing(work, log)
    ended = child.wait()
    assert ended.status == 0, ended
    return time.monotonic() - began


def _writing(work: Work, log: Path) -> tuple["Child", float]:
    """A child that has begun to write (taking a lock does not count), and the time when it did."""
    reader, writer = os.pipe()

    def telling() -> None:
        os.close(reader)

        def before(event: str, given: tuple[Any, ...]) -> None:
            nonlocal writer
            if writer >= 0 and _changes(event, given) and not str(given[0]).endswith(".lock"):
                told, writer = writer, -1
                os.close(told)

        sys.addaudithook(before)
        work()

    child = Child(telling, log)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return child, time.monotonic()


def killed_before(step: int, work: Work, log: Path) -> Ended:
    """Run `work` in a child that is killed before it changes the file system the nth time (0, …).

    Its status is None until there are no more than `step` changes.
    """

    def counted() -> None:
        left = step

        def before(event: str, given: tuple[Any, ...]) -> None:
            nonlocal left
            if _changes(event, given):
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.addaudithook(before)
        work()

    return Child(counted, log).wait()


def _changes(event: str, given: tuple[Any, ...]) -> bool:
    """Whether an audit event comes before a change of the file system."""
    opened = event == "open" and isinstance(given[2], int) and bool(given[2] & WRITING)
    return opened or event in CHANGES


def at_once(works: list[Work], folder: Path) -> list[Ended]:
    """Run several children that start at the same moment; return how they ended."""
    begin = time.monotonic() + 0.05

    def waiting(work: Work) -> Work:
        def run() -> None:
            while time.monotonic() < begin:
                pass
            work()

        return run

    children = [Child(waiting(w), folder / f"log-{n}") for n, w in enumerate(works)]
    return [child.wait() for child in children]
