"""What a process takes that only loads a model, with the lean import and without."""

import os
import subprocess
import sys
from statistics import median
from typing import Any

LOAD = """
import sys
from editcore.models.loading import load_model
load_model("model", sys.argv[1])
print(len(sys.modules))
"""
WAYS = {"plain": LOAD, "lean": f"import editcore_lean\neditcore_lean.install()\n{LOAD}"}


def start(source: str, rounds: int) -> dict[str, Any]:
    """Processor time, user and system, of a whole process: medians over rounds of both ways.

    `ratio` is the median of the rounds' ratios.
    """
    taken = [{way: _process(code, source) for way, code in WAYS.items()} for _ in range(rounds)]
    found: dict[str, Any] = {
        way: {
            "CPU s": median(each[way][0] for each in taken),
            "modules": taken[0][way][1],
        }
        for way in WAYS
    }
    return found | {"ratio": median(each["lean"][0] / each["plain"][0] for each in taken)}


def _process(code: str, source: str) -> tuple[float, int]:
    """Processor seconds of a new process that runs this code, and the number of its modules."""
    command = [sys.executable, "-c", code, source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime, int(printed)
