"""Kills commands as they write, lets two of them race, and damages folders.

    python -m tests.soak files --kills 200 --races 50 --page docs/reliability.md

After a kill, the files are the old ones, the new ones, or something that the next command repairs:
it succeeds, and the folder is then right byte for byte. A round that fails is printed and its
folder is kept; the exit status is then 1. `--page` writes the counts to a page.
"""

import argparse
import contextlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.children import killed_after, killed_before, seconds_of_writing
from tests.model_folders import MODELS, RECORDS
from tests.soak.scenarios import RACES, SCENARIOS, Bench, refused, two_changes

START, END = "<!-- soak files: start -->", "<!-- soak files: end -->"


@dataclass
class Tally:
    """How the rounds of each kind ended, and how many failed."""

    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    failed: int = 0

    def round(self, what: str, judge: Callable[[], str]) -> str:
        """The state in which one round ended; a failure is printed."""
        try:
            return judge()
        except AssertionError as error:
            self.failed += 1
            print(f"FAILED: {what}: {error}", flush=True)
            return "failed"

    def add(self, kind: str, ends: Counter[str]) -> None:
        """Record and print how all rounds of one kind ended."""
        self.kinds[kind] = ends
        print(f"{kind}: {ends.total()}: {listed(ends)}", flush=True)

    def table(self) -> str:
        """The kinds as a Markdown table."""
        rows = [
            f"| {kind} | {ends.total()} | {listed(ends)} |" for kind, ends in self.kinds.items()
        ]
        return "\n".join(["| what | rounds | how they ended |", "|---|---|---|", *rows])


def listed(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))


def kills_at_every_step(bench: Bench, tally: Tally, draw: random.Random) -> None:
    """Kill each command before each of its changes to the file system in turn."""
    for make in SCENARIOS:
        ends: Counter[str] = Counter()
        killed = True
        while killed:
            step, scenario = ends.total(), make(bench)
            ended = killed_before(step, scenario.work, bench.home / "log")
            killed = ended.status is None
            assert killed or ended.status == 0, ended
            state = tally.round(f"{scenario.name}, {step}", lambda s=scenario: s.judge(draw))
            ends[state] += killed
        tally.add(f"`{scenario.name}`, killed before each of its steps", ends)


def kills_at_random(bench: Bench, tally: Tally, draw: random.Random, count: int) -> None:
    """Kill the commands in turn at a random moment while they write."""
    ends = {make: Counter[str]() for make in SCENARIOS}
    log = bench.home / "log"
    longest = {
        make: min(seconds_of_writing(make(bench).work, log) for _ in range(3)) for make in SCENARIOS
    }
    for number in range(count):
        make = SCENARIOS[number % len(SCENARIOS)]
        scenario = make(bench)
        killed_after(draw.uniform(0, longest[make]), scenario.work, log)
        ends[make][tally.round(scenario.name, lambda s=scenario: s.judge(draw))] += 1
    for make, found in ends.items():
        tally.add(f"`{make.name}`, killed at random moments", found)


def races(bench: Bench, tally: Tally, count: int) -> None:
    """Start two commands at once, each kind of race in turn, and most often two changes."""
    order = (two_changes, *RACES)
    ends = {race: Counter[str]() for race in RACES}
    for number in range(count):
        race = order[number % len(order)]
        ends[race][tally.round(race.__name__, lambda r=race: r(bench))] += 1
    for race, found in ends.items():
        tally.add(f"{race.__name__.replace('_', ' ')} at once", found)


def damaged(bench: Bench, tally: Tally) -> None:
    """Run commands on damaged folders: each ends in one plain error and writes nothing."""
    models, records = Counter[str](), Counter[str]()
    for kind, harm in MODELS.items():
        for way in ("in place", "copy"):
            models[tally.round(f"{kind}, {way}", lambda h=harm, w=way: refused(bench, h, w))] += 1
    for kind, harm in RECORDS.items():
        records[tally.round(kind, lambda h=harm: refused(bench, h, "revert"))] += 1
    tally.add(f"{len(MODELS)} damaged models, changed in place and as a copy", models)
    tally.add("damaged records of old weights", records)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--kills", type=int, default=200, help="at random moments")
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--no-damage", action="store_true", help="do not test damaged folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="the page to write the counts to")


def main(given: argparse.Namespace) -> int:
    """Run everything; returns the exit status."""
    os.environ["OMP_NUM_THREADS"] = "1"  # children of a process with threads may hang
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Imported here so that no child has to: pyarrow imports pandas for the first table.
    with contextlib.suppress(ImportError):
        import pandas  # noqa: F401
    import peft  # noqa: F401
    import torch

    import editcore.runs.adhoc.export.run
    import editcore.runs.adhoc.guard  # noqa: F401

    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="editcore-soak-"))
    draw, tally = random.Random(given.seed), Tally()
    bench = Bench.made(home)
    kills_at_every_step(bench, tally, draw)
    kills_at_random(bench, tally, draw, given.kills)
    races(bench, tally, given.races)
    if not given.no_damage:
        damaged(bench, tally)
    print(f"{tally.failed} failed" + (f"; folders in {home}" if tally.failed else ""), flush=True)
    if not tally.failed:
        shutil.rmtree(home)
    if given.page is not None:
        write(given.page, tally)
    return int(tally.failed > 0)


def write(page: Path, tally: Tally) -> None:
    """Write the counts between the markers of a page."""
    # Imported last: its libraries start threads, and forked processes would hang.
    from refresh.documents import between

    count = sum(ends.total() for ends in tally.kinds.values())
    part = f"{count} rounds, of which {tally.failed} failed.\n\n{tally.table()}"
    page.write_text(between(page.read_text("utf-8"), part, START, END), "utf-8")
