"""One malformed input: changed files of the study, a command, and the ends that are allowed."""

import contextlib
import faulthandler
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from editcore.cli import main

# Processor time; a command of the small study takes a few seconds, so a longer one hangs.
SECONDS = 30
# Wall-clock time until the process is ended: it waits for something, or hangs outside Python.
WAITING = 600
# In addition to what the process uses already; the study's models have a few hundred kilobytes.
BYTES = 3 * 2**30
LONGEST_MESSAGE = 6000
LONGEST_SHOWN = 2000
OUT = Path("out")

# The documented exit statuses besides that of a refusal.
REFUSED = 2
ENDS = {"doctor": {0, 1}, "check": {0, 3, 4}, "guard": {0, 3}, "data": {0, 3}}
PREFIXES = ("editcore: error: ", "Usage: ", "Error: ")


class Hang(BaseException):
    """A command that did not end in time; `except Exception` does not catch it."""


@dataclass(frozen=True, repr=False)
class Attack:
    """A command, files that are replaced for it, and folders that are copied for it to change."""

    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    copied: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        files = {name: content[:LONGEST_SHOWN] for name, content in self.files.items()}
        return f"Attack({self.arguments}, {files}, {dict(self.copied)})"

    @property
    def command(self) -> str:
        """The command's name; empty if editcore has no such command."""
        first = self.arguments[0] if self.arguments else ""
        return first if first in main.commands else ""

    def run(self) -> str:
        """How the command ends, in one word; raises `AssertionError` unless that is documented.

        The working directory is the study's folder, which is restored afterwards.
        """
        with _replaced(self), _bounded():
            result = CliRunner().invoke(main, list(self.arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return self._judged(result.exit_code, result.output)

    def _judged(self, status: int, output: str) -> str:
        assert "Traceback" not in output, output
        if status != REFUSED:
            assert status in ENDS.get(self.command, {0}), output
            return "carried out"
        said = [line for line in output.splitlines() if line.startswith(PREFIXES)]
        assert said, output
        # Messages contain paths in full, however long.
        longest = LONGEST_MESSAGE + 2 * max(map(len, self.arguments), default=0)
        assert len(output) < longest, f"{len(output)} characters: {output[:500]}"
        return "refused"


@contextlib.contextmanager
def _replaced(attack: Attack) -> Iterator[None]:
    """A block with the attack's files in place; they are removed afterwards."""
    there = set(os.listdir())
    OUT.mkdir()
    for source, place in attack.copied.items():
        shutil.copytree(source, place)
    before = {n: Path(n).read_bytes() if Path(n).is_file() else None for n in attack.files}
    try:
        for name, content in attack.files.items():
            Path(name).write_bytes(content)
        yield
    finally:
        for name, content in before.items():
            if content is not None and OUT not in Path(name).parents:
                Path(name).write_bytes(content)
            else:
                Path(name).unlink(missing_ok=True)
        for name in set(os.listdir()) - there:
            shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """A block limited to `SECONDS` of processor time and `BYTES` of memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, _hung)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(WAITING, exit=True, file=sys.__stderr__)
    resource.setrlimit(resource.RLIMIT_AS, (_virtual() + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _virtual() -> int:
    """The process's address space, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _hung(*_: object) -> None:
    raise Hang(f"still running after {SECONDS} s of processor time")
