"""How far a job is, from the lines that its progress bars write to its log."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The end of a log, which contains its last line of progress.
TAIL_BYTES = 4096
# What `editcore.progress` writes to a file.
LINE = re.compile(
    r"^(?P<what>.+): (?P<done>\d\S*) of (?P<total>\d\S*) (?P<unit>\w+) \((?P<percent>\d+) %\), "
    r"\S+, (?P<left>\S+) left$"
)


@dataclass(frozen=True)
class JobProgress:
    """A job's last line of progress: a share between 0 and 1, and words such as "3 of 8 edits"."""

    share: float
    words: str


def parse(lines: Sequence[str]) -> JobProgress | None:
    """The last state in these lines; None if there is none.

    >>> parse(["rome: 40 of 80 edits (50 %), 00:10, 00:10 left"])
    JobProgress(share=0.5, words='40 of 80 edits')
    """
    for line in reversed(lines):
        if found := LINE.match(line.strip()):
            words = f"{found['done']} of {found['total']} {found['unit']}"
            return JobProgress(int(found["percent"]) / 100, words)
    return None


def read(logs: Sequence[str]) -> JobProgress | None:
    """The state in the first of a job's logs; None if it has none yet."""
    return parse(tail(logs[0])) if logs else None


def tail(log: str, size: int = TAIL_BYTES) -> list[str]:
    """The last lines of a file; empty if it cannot be read."""
    try:
        with Path(log).open("rb") as file:
            file.seek(0, 2)
            start = max(0, file.tell() - size)
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[1:] if start else lines
