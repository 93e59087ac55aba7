"""Runs the smoke study over and over, kills it at random moments, and compares its tables.

    python -m tests.soak --rounds 20

Not part of the test suite: a round takes minutes. Exit status 1 where a round ends otherwise.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("cases", "verdicts", "sequences", "downstream")
TIMINGS = ("seconds",)


def command(*arguments: str) -> list[str]:
    snakefile, config = ROOT / "workflow" / "Snakefile", ROOT / "config" / "smoke.yaml"
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    return [*base, "--configfile", str(config), "--cores", "2", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"EDITCORE_RESOURCES": str(ROOT / "resources"), "HF_HUB_OFFLINE": "1"}


def killed_run(folder: Path, draw: random.Random, kills: int, longest: float) -> None:
    """Kill so many runs, each at a random moment: all of it, or Snakemake and not its jobs."""
    for _ in range(kills):
        run = subprocess.Popen(
            command(), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env=environment(),
        )  # fmt: skip
        time.sleep(draw.uniform(0, longest))
        if run.poll() is None and draw.random() < 0.5:
            os.kill(run.pid, signal.SIGKILL)
        elif run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        whole_run(folder, "--unlock")


def whole_run(folder: Path, *arguments: str) -> None:
    subprocess.run(
        command(*arguments), cwd=folder, check=True, capture_output=True, env=environment()
    )


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    files = {name: folder / "results" / "summary" / f"{name}.parquet" for name in TABLES}
    return {n: pl.read_parquet(f).drop(TIMINGS, strict=False) for n, f in files.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=2, help="killed runs in each round")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        undisturbed = Path(name) / "undisturbed"
        undisturbed.mkdir()
        whole_run(undisturbed)
        expected = tables(undisturbed)
        for number in range(given.rounds):
            folder = Path(name) / str(number)
            folder.mkdir()
            killed_run(folder, draw, given.kills, given.longest)
            whole_run(folder)
            for table, frame in tables(folder).items():
                assert_frame_equal(frame, expected[table])
            print(f"round {number + 1} of {given.rounds}: equal", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
