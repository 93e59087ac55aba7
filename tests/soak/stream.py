"""Kills one long sequence at random moments until it is done, and compares all that it wrote.

    python -m tests.soak stream --kills 20

The sequence is of a bundled model, with all telemetry. Rows must be equal in everything but
seconds, and the file of weight changes byte by byte.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import yaml
from polars.testing import assert_frame_equal

ROOT = Path(__file__).resolve().parents[2]
TIMING = "^seconds.*$"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--editor", default="memit-seq", help="a label of config/streams.yaml")
    parser.add_argument("--model", default="tiny-gpt2")
    parser.add_argument("--seed", type=int, default=0)


def study(given: argparse.Namespace) -> dict[str, object]:
    """`config/streams.yaml` with one model, one editor and one order."""
    whole = yaml.safe_load((ROOT / "config" / "streams.yaml").read_text(encoding="utf-8"))
    steps = {"edits": given.edits, "seeds": [0], "checkpoint": 10, "after_collapse": "continue"}
    return whole | {
        "models": {given.model: {}},
        "editors": {given.editor: whole["editors"][given.editor]},
        "sequences": whole["sequences"] | steps,
    }


class Stream:
    """The sequence's command in a folder with its artefacts."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder = folder
        place = f"model={given.model}/editor={given.editor}/dataset=facts/seed-0"
        self.job = f"results/jobs/sequences/{place}.json"
        self.rows = f"results/sequences/{place}.parquet"
        self.deltas = f"results/sequences/{place}.safetensors"

    def prepare(self, study: dict[str, object]) -> None:
        """Plan the study and make the artefacts, by running the sequence once."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        snakefile = ROOT / "workflow" / "Snakefile"
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--cores", "1"]
        self._run([*base, self.rows, "--configfile", "study.yaml"])

    def command(self) -> list[str]:
        """The command that makes the sequence."""
        base = [sys.executable, "-c", "from editcore.cli import main; main()", "sequence"]
        return [*base, "--job", self.job, "--out", self.rows, "--deltas", self.deltas]

    def finish(self) -> None:
        """Run it to the end; raises `RuntimeError` with its output if it fails."""
        self._run(self.command())

    def kill_after(self, seconds: float) -> bool:
        """Start it and kill it; False if it had ended before."""
        log = self.folder / "killed.log"
        with log.open("ab") as out:
            run = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=out, stderr=out, env=self._environment()
            )
        time.sleep(seconds)
        going = run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.wait()
        return going

    def remove(self) -> None:
        """Delete what it wrote, the checkpoint too."""
        rows = self.folder / self.rows
        for file in (*rows.parent.iterdir(),):
            file.unlink()

    def made(self) -> tuple[pl.DataFrame, str]:
        """The rows without seconds, and a digest of the weight changes."""
        content = (self.folder / self.deltas).read_bytes()
        rows = pl.read_parquet(self.folder / self.rows).select(pl.exclude(TIMING))
        return rows, hashlib.sha256(content).hexdigest()

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False,
            env=self._environment(),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}:\n{done.stdout}{done.stderr}")

    def _environment(self) -> dict[str, str]:
        # With as many threads as the workflow gives it: the last bits depend on their number.
        own = {"EDITCORE_RESOURCES": str(ROOT / "resources"), "OMP_NUM_THREADS": "1"}
        return os.environ | own | {"HF_HUB_OFFLINE": "1"}


def main(given: argparse.Namespace) -> int:
    """Run it once undisturbed and once with the kills; returns the exit status."""
    draw = random.Random(given.seed)
    home = Path(tempfile.mkdtemp(prefix="editcore-stream-"))
    stream = Stream(home, given)
    stream.prepare(study(given))
    stream.remove()
    started = time.monotonic()
    stream.finish()
    whole = time.monotonic() - started
    expected = stream.made()
    stream.remove()
    print(f"undisturbed: {given.edits} edits in {whole:.0f} s", flush=True)
    kills = 0
    while kills < given.kills:
        seconds = draw.uniform(0.1, 1.3) * max(10.0, 2 * whole / given.kills)
        if not stream.kill_after(seconds):
            print("  had ended; starting over", flush=True)
            stream.remove()
            continue
        kills += 1
        print(f"  kill {kills} after {seconds:.1f} s", flush=True)
    stream.finish()
    rows, deltas = stream.made()
    try:
        assert_frame_equal(rows, expected[0], check_exact=True)
        assert deltas == expected[1], "the weight changes differ"
    except AssertionError as error:
        print(f"FAILED after {kills} kills, kept in {home}: {error}", flush=True)
        return 1
    print(f"{len(rows):,} rows and all weight changes are equal after {kills} kills", flush=True)
    shutil.rmtree(home)
    return 0
