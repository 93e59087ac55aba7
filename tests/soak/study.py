"""Runs the smoke study repeatedly, kills it at random moments, and compares its tables.

    python -m tests.soak study --rounds 20

It is not in the test suite, since a round takes minutes. It prints each kill and each verdict. The
folder of a round that fails is kept, and the exit status is then 1.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

ROOT = Path(__file__).resolve().parents[2]
TIMING = "^seconds.*$"


@dataclass(frozen=True)
class Round:
    """The study in a folder of its own, which is killed several times."""

    folder: Path
    cores: int

    def command(self, *arguments: str) -> list[str]:
        snakefile, config = ROOT / "workflow" / "Snakefile", ROOT / "config" / "smoke.yaml"
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
        return [*base, "--configfile", str(config), "--cores", str(self.cores), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"EDITCORE_RESOURCES": str(ROOT / "resources"), "HF_HUB_OFFLINE": "1"}

    def killed(self, seconds: float, everything: bool) -> int:
        """Start the study and kill all of it, or only Snakemake; returns its process group."""
        with (self.folder / "killed.log").open("ab") as log:
            run = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
                env=self.environment,
            )  # fmt: skip
        time.sleep(seconds)
        ended = run.poll() is not None
        if not ended:
            (os.killpg if everything else os.kill)(run.pid, signal.SIGKILL)
        run.wait()
        what = "had ended" if ended else "all killed" if everything else "Snakemake killed"
        print(f"  {what} after {seconds:.1f} s, {self.shards()} shards there", flush=True)
        self.whole("--unlock")
        return run.pid

    def shards(self) -> int:
        return len([*(self.folder / "results").glob("edits/**/*.parquet")])

    def whole(self, *arguments: str) -> None:
        """Run the study to the end; raises `RuntimeError` with its output if it fails."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, capture_output=True, text=True, check=False,
            env=self.environment,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}:\n{done.stdout}{done.stderr}")

    def tables(self) -> dict[str, pl.DataFrame]:
        files = sorted((self.folder / "results" / "summary").glob("*.parquet"))
        return {f.stem: pl.read_parquet(f).select(pl.exclude(TIMING)) for f in files}


def survived(study: Round, draw: random.Random, kills: int, longest: float) -> None:
    """Kill the study `kills` times, then let it finish; jobs still running are ended."""
    groups: list[int] = []
    try:
        for _ in range(kills):
            groups.append(study.killed(draw.uniform(0, longest), draw.random() < 0.5))
        study.whole()
    finally:
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def compare(found: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    """Raise `AssertionError` if a table is missing or differs in any number."""
    assert found.keys() == expected.keys(), (found.keys(), expected.keys())
    for name, frame in found.items():
        try:
            assert_frame_equal(frame, expected[name], check_exact=True)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3, help="killed runs in each round")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)


def main(given: argparse.Namespace) -> int:
    """Run the rounds; returns the exit status."""
    draw = random.Random(given.seed)
    home = Path(tempfile.mkdtemp(prefix="editcore-soak-"))
    undisturbed = Round(home / "undisturbed", given.cores)
    undisturbed.folder.mkdir()
    started = time.monotonic()
    undisturbed.whole()
    longest = time.monotonic() - started
    expected = undisturbed.tables()
    print(f"undisturbed: {longest:.0f} s, {len(expected)} tables", flush=True)
    failed = 0
    for number in range(1, given.rounds + 1):
        study = Round(home / f"round-{number}", given.cores)
        study.folder.mkdir()
        print(f"round {number} of {given.rounds}", flush=True)
        try:
            survived(study, draw, given.kills, longest)
            compare(study.tables(), expected)
        except (AssertionError, RuntimeError) as error:
            failed += 1
            print(f"  FAILED, kept in {study.folder}: {error}", flush=True)
        else:
            print("  equal", flush=True)
            shutil.rmtree(study.folder)
    print(f"{given.rounds - failed} of {given.rounds} rounds ended equal", flush=True)
    if not failed:
        shutil.rmtree(home)
    return int(failed > 0)
