"""Gives malformed inputs of every kind to all commands: each must be refused or carried out.

    python -m tests.soak fuzz --inputs 30000

It prints how the commands ended, by kind. If one ends in another way, its input is minimised and
printed, and the exit status is 1.
"""

import argparse
import logging
import os
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

# Shares of ten thousand inputs; few for the report, which takes seconds.
SHARES = {
    "config": 2000,
    "records": 2000,
    "jobs": 1950,
    "artefacts": 1500,
    "models": 1000,
    "arguments": 1500,
    "report": 50,
}
BATCH = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--inputs", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first batch of each kind")
    parser.add_argument("--kind", choices=SHARES, action="append", help="only these; repeatable")


def main(given: argparse.Namespace) -> int:
    """Run everything; returns the exit status."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from tests.fuzzing.hunt import small_study

    # Libraries warn about files that are broken on purpose.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    kinds = {kind: SHARES[kind] for kind in given.kind or SHARES}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="editcore-soak-") as name, small_study(Path(name)):
        for kind, share in kinds.items():
            failed += _kind(kind, round(given.inputs * share / sum(kinds.values())), given.seed)
    print(f"{failed} batches with a failure", flush=True)
    return int(failed > 0)


def _kind(kind: str, inputs: int, seed: int) -> int:
    """Run one kind in batches and print its ends; returns the number of failed batches."""
    from tests.fuzzing.hunt import hunt

    ends: Counter[str] = Counter()
    failed, started = 0, time.monotonic()
    for number, first in enumerate(range(0, inputs, BATCH)):
        try:
            found = hunt(kind, min(BATCH, inputs - first), seed + number)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failed += 1
            print(f"FAILED: {kind}, seed {seed + number}:", flush=True)
            traceback.print_exception(error)
        else:
            for (_, how), count in found.items():
                ends[how] += count
    told = ", ".join(f"{count} {how}" for how, count in sorted(ends.items()))
    seconds = time.monotonic() - started
    print(f"{kind}: {ends.total()} inputs: {told} ({seconds:.0f} s)", flush=True)
    return failed
