"""Growth is measured by sizes, and a command's use is its own."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.growth import MEASURED, Growth, Row
from benchmarks.process import CommandFailed, Used, used

ROOT = Path(__file__).parents[2]
MEGABYTES = "x = bytearray({} * 10**6)"
# Uses the processor for half a second.
BUSY = "import time\nwhile time.process_time() < 0.5: pass"
LEFT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}])"


def grown(out: Path, *arguments: str) -> dict[str, Any]:
    """What the command writes; its table has a line for each row."""
    result = CliRunner().invoke(main, ["growth", *arguments, "--json", str(out)])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(out.read_text())
    sizes = [
        row["size"] for axis in found.values() if isinstance(axis, dict) for row in axis["rows"]
    ]
    lines = [line.split("|") for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [line[1].strip() for line in lines if line[1].strip().isdigit()] == [*map(str, sizes)]
    return found


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_cases_and_layers_have_rows_and_slopes(tmp_path: Path) -> None:
    axes = ["--axis", "cases", "--cases", "4,1", "--axis", "layers", "--layers", "1,2"]
    few = ["--steps", "2", "--texts", "2"]
    found = grown(tmp_path / "growth.json", *axes, *few)
    assert "jobs" not in found
    for axis, sizes in {"cases": [1, 4], "layers": [1, 2]}.items():
        rows = found[axis]["rows"]
        assert [row["size"] for row in rows] == sizes
        for row in rows:
            assert 0.5 < row["cpu"] < 1.2 * row["seconds"]  # one thread
            assert 200 < row["memory"] < 2000
        for name in MEASURED:
            (slope,) = found[axis]["slopes"][name]
            assert slope * (sizes[1] - sizes[0]) == pytest.approx(rows[1][name] - rows[0][name])
    # A layer of this width has 3.5 million numbers.
    assert found["layers"]["slopes"]["memory"][0] > 3.5 * 4


def test_a_study_is_run_and_its_jobs_are_counted(tmp_path: Path) -> None:
    found = grown(tmp_path / "growth.json", "--axis", "jobs", "--jobs", "7")["jobs"]
    (row,) = found["rows"]
    assert row["size"] == 7
    # Each of its jobs needs more than this: that of forked ones counts, too.
    assert row["cpu"] > 7 * 0.5
    assert 50 < row["memory"] < 1000
    assert found["slopes"] == {name: [] for name in MEASURED}


def test_what_cannot_be_measured_is_told() -> None:
    result = CliRunner().invoke(main, ["growth", "--axis", "cases", "--layer", "99"])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: ")
    assert "99" in result.output


def test_a_straight_line_has_one_slope() -> None:
    sizes = (10, 100, 1000)
    line = Growth("case", [Row(n, Used(3 + n / 50, 2 + n / 50, 500)) for n in sizes])
    for name, slope in {"seconds": 0.02, "cpu": 0.02, "memory": 0.0}.items():
        assert line.slopes(name) == pytest.approx([slope] * 2)
    seconds, cpu, memory = line.sentences()
    costs = "0.0200 s from 10 to 100 and 0.0200 s from 100 to 1,000"
    assert seconds == f"A further case costs {costs}; the last is 1.00 times the first."
    assert "of processor time" in cpu
    assert memory == "A further case costs 0 MB from 10 to 100 and 0 MB from 100 to 1,000."
    assert "| 1,000 | 23      | 22    | 500 | 0.0230     |" in line.table()


def test_growth_with_the_square_shows_in_the_last_interval() -> None:
    square = Growth("job", [Row(n, Used(n**2, 1, 1)) for n in (1, 2, 4)])
    assert square.slopes("seconds") == [after + before for before, after in pairwise((1, 2, 4))]
    assert square.sentences()[0].endswith("the last is 2.00 times the first.")


def test_memory_is_that_of_the_process_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = f"import subprocess; subprocess.run({python(MEGABYTES.format(300))}); {BUSY}"
    small = used(python(child), tmp_path, log).memory
    large = used(python(f"{MEGABYTES.format(200)}\n{BUSY}"), tmp_path, log).memory
    assert 5 < small < 100
    assert 200 < large < 300


def test_processor_time_is_that_of_all_processes(tmp_path: Path) -> None:
    found = used(python(LEFT), tmp_path, tmp_path / "log")
    assert found.cpu > 0.5
    assert found.seconds < 0.5


def test_a_failed_command_s_last_words_are_told(tmp_path: Path) -> None:
    code = "import os\nfor n in range(99): print(n)\nraise SystemExit(os.environ['WHY'])"
    with pytest.raises(CommandFailed, match=r"98\nbecause$"):
        used(python(code), tmp_path, tmp_path / "log", WHY="because")


def test_a_measured_command_ends_with_the_one_who_measures_it(tmp_path: Path) -> None:
    wait = python("import time; time.sleep(60)")
    code = f"from benchmarks.process import *; used({wait}, Path('.'), Path('log'))"
    measuring = subprocess.Popen(
        python(code), cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    process = psutil.Process(measuring.pid)
    while len(below := process.children(recursive=True)) < 2 or below[-1].cmdline() != wait:
        time.sleep(0.05)
    measuring.kill()
    measuring.wait()
    assert psutil.wait_procs(below, timeout=10)[1] == []
