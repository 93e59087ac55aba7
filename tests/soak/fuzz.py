"""Gives malformed inputs of every kind to all commands: each must be refused or carried out.

    python -m tests.soak fuzz --inputs 30000 --page docs/reliability.md

It prints how the commands ended, by kind. If one ends in another way, its input is minimised and
printed, and the exit status is 1. `--page` writes the counts to a page.
"""

import argparse
import logging
import os
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping
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
NAMES = {
    "config": "studies",
    "records": "records, texts, tasks, words and relations",
    "jobs": "job files and the study's manifest",
    "artefacts": "tables and artefacts",
    "models": "folders of models",
    "arguments": "arguments",
    "report": "tables of the report",
}
BATCH = 500
ENDS, FAILED = ("carried out", "refused"), "failed batches"
START, END = "<!-- soak fuzz: start -->", "<!-- soak fuzz: end -->"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--inputs", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first batch of each kind")
    parser.add_argument("--kind", choices=SHARES, action="append", help="only these; repeatable")
    parser.add_argument("--page", type=Path, help="the page to write the counts to")


def main(given: argparse.Namespace) -> int:
    """Run everything; returns the exit status."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from tests.fuzzing.hunt import small_study

    # Libraries warn about files that are broken on purpose.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    kinds = {kind: SHARES[kind] for kind in given.kind or SHARES}
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="editcore-soak-") as name, small_study(Path(name)):
        for kind, share in kinds.items():
            inputs = round(given.inputs * share / sum(kinds.values()))
            counts[kind] = _kind(kind, inputs, given.seed)
    failed = sum(ends[FAILED] for ends in counts.values())
    print(f"{failed} batches with a failure", flush=True)
    if given.page is not None:
        write(given.page, counts)
    return int(failed > 0)


def write(page: Path, counts: Mapping[str, Counter[str]]) -> None:
    """Write the counts between the markers of a page; of a failed batch no input is counted."""
    from refresh.documents import between

    total = sum(ends[end] for ends in counts.values() for end in ENDS)
    heads = f"| kind | inputs | {' | '.join(ENDS)} | failed batches of {BATCH} |"
    lines = [f"{total} inputs:", "", heads, "|---|---|---|---|---|"]
    for kind, ends in counts.items():
        told = " | ".join(str(ends[end]) for end in (*ENDS, FAILED))
        lines.append(f"| {NAMES[kind]} | {sum(ends[end] for end in ENDS)} | {told} |")
    part = "\n".join(lines)
    page.write_text(between(page.read_text("utf-8"), part, START, END), "utf-8")


def _kind(kind: str, inputs: int, seed: int) -> Counter[str]:
    """Run one kind in batches and print its ends; returns them, and the failed batches."""
    from tests.fuzzing.hunt import hunt

    ends: Counter[str] = Counter()
    started = time.monotonic()
    for number, first in enumerate(range(0, inputs, BATCH)):
        try:
            found = hunt(kind, min(BATCH, inputs - first), seed + number)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            ends[FAILED] += 1
            print(f"FAILED: {kind}, seed {seed + number}:", flush=True)
            traceback.print_exception(error)
        else:
            for (_, how), count in found.items():
                ends[how] += count
    told = ", ".join(f"{count} {how}" for how, count in sorted(ends.items()))
    seconds = time.monotonic() - started
    print(f"{kind}: {told} ({seconds:.0f} s)", flush=True)
    return ends
