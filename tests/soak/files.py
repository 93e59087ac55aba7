"""Kills `apply`, `revert` and `guard` while they write, lets two of them race, and damages folders.

    python -m tests.soak files --kills 200 --races 50

After each kill the files are what they were, what they were to be, or something that the next
command mends: it ends well, and the folder is then right byte for byte. A round that fails is
printed and its folder kept; the exit status is then 1.
"""

import argparse
import contextlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from click.testing import CliRunner

from tests.children import (
    Child,
    Ended,
    Work,
    at_once,
    killed_after,
    killed_before,
    seconds_of_writing,
)
from tests.model_folders import KEPT, MODELS, RECORDS, contents, sharded, write_delta

Files = dict[str, bytes]
OLD, NEW, BETWEEN = "old", "new", "mended by the next command"


def command(*arguments: object) -> Work:
    """One command of editcore, to be run in a child."""
    from editcore.cli import main

    return lambda: main([str(each) for each in arguments], standalone_mode=False)


def weights(files: Files) -> Files:
    """The files without the records of what was replaced, whose metadata have no fixed order."""
    return {name: content for name, content in files.items() if not name.startswith(KEPT)}


@dataclass(frozen=True)
class Bench:
    """A model, two changes of it, what its folder is with either, and an outcome of `guard`."""

    home: Path
    base: Path
    changes: tuple[Path, Path]
    edited: tuple[Path, Path]
    guarded: Path

    @classmethod
    def made(cls, home: Path) -> "Bench":
        """A small random model in two files or more, edited by commands that nobody disturbs."""
        base = sharded(home / "base")
        changes = tuple(write_delta(home / f"change-{n}.safetensors", n) for n in range(2))
        edited = tuple(home / f"edited-{n}" for n in range(2))
        for change, folder in zip(changes, edited, strict=True):
            # In this process, so that children find everything imported.
            command("apply", change, base, "--out", folder)()
        guarded = home / "guarded"
        ended = Child(lambda: write_outcome(guarded, OLD), home / "log").wait()
        assert ended.status == 0, ended
        return cls(home, base, changes, edited, guarded)

    def fresh(self, source: Path) -> Path:
        """A copy of a folder in a place of its own."""
        place = Path(tempfile.mkdtemp(dir=self.home, prefix="round-"))
        return Path(shutil.copytree(source, place / "model"))

    def run(self, *arguments: object) -> Ended:
        """Run one command to its end, in this process."""
        from editcore.cli import main

        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return Ended(result.exit_code, result.output)

    def reverted(self, folder: Path) -> None:
        """Take everything out of a folder; `AssertionError` where it is not as it was then."""
        ended = self.run("revert", folder, "--all")
        assert ended.status == 0 or "nothing was applied" in ended.output, ended
        assert contents(folder) == contents(self.base), names(folder)


def names(folder: Path) -> list[str]:
    return list(contents(folder))


class InPlace:
    """`apply --in-place`."""

    name: ClassVar[str] = "apply --in-place"

    def __init__(self, bench: Bench) -> None:
        self.bench, self.folder = bench, bench.fresh(bench.base)
        self.work = command("apply", bench.changes[0], self.folder, "--in-place")

    def judge(self, draw: random.Random) -> str:
        """What the kill has left; the next command is one or the other."""
        state = state_of(self.folder, old=self.bench.base, new=self.bench.edited[0])
        if draw.random() < 0.5:
            ended = self.bench.run("apply", self.bench.changes[1], self.folder, "--in-place")
            assert ended.status == 0, ended
            assert "unfinished" not in str(names(self.folder))
        self.bench.reverted(self.folder)
        return state


class Revert(InPlace):
    """`revert` of one change."""

    name = "revert"

    def __init__(self, bench: Bench) -> None:
        self.bench, self.folder = bench, bench.fresh(bench.edited[0])
        self.work = command("revert", self.folder)

    def judge(self, draw: random.Random) -> str:
        """Revert again."""
        state = state_of(self.folder, old=self.bench.edited[0], new=self.bench.base)
        self.bench.reverted(self.folder)
        return state


class Copy:
    """`apply --out`."""

    name: ClassVar[str] = "apply --out"

    def __init__(self, bench: Bench) -> None:
        self.bench, self.folder = bench, bench.fresh(bench.base)
        self.out = self.folder.with_name("out")
        self.arguments = ("apply", bench.changes[0], self.folder, "--out", self.out)
        self.work = command(*self.arguments)

    def judge(self, draw: random.Random) -> str:
        """The copy is there and whole, or not there; the same command then makes it."""
        state = NEW if self.out.exists() else OLD
        if state == OLD:
            ended = self.bench.run(*self.arguments)
            assert ended.status == 0, ended
            beside = sorted(file.name for file in self.out.parent.iterdir())
            assert beside == ["model", "out"], beside
        assert weights(contents(self.out)) == weights(contents(self.bench.edited[0]))
        self.bench.reverted(self.out)
        return state


class Guard:
    """What `guard` writes at its end, over what it wrote another time."""

    name: ClassVar[str] = "guard --out"

    def __init__(self, bench: Bench) -> None:
        self.folder, self.log = bench.fresh(bench.guarded), bench.home / "log"
        self.work = lambda: write_outcome(self.folder, NEW)

    def judge(self, draw: random.Random) -> str:
        """No file of one outcome beside one of the other; the next run is not disturbed."""

        def jobs_before_and_after() -> None:
            print(*jobs(self.folder))
            self.work()
            print(*jobs(self.folder))

        # In a child, since a process that has read tables cannot be forked.
        ended = Child(jobs_before_and_after, self.log).wait()
        assert ended.status == 0, ended
        found, after = (line.split() for line in ended.output.splitlines())
        assert len(set(found)) == 1, found
        assert after == [NEW, NEW], after
        assert sorted(contents(self.folder)) == ["delta.safetensors", "guard.parquet"]
        return {2: found[0], 1: BETWEEN}[len(found)]


def write_outcome(folder: Path, job: str) -> None:
    """What `guard` writes, naming the job that it is of."""
    from editcore.runs.adhoc.guard import Guarded
    from editcore.updates.delta import Delta

    row = {"model": job, "editor": "e", "step": 0, "status": "ok", "accepted": True}
    Guarded([row], Delta({}), job).save(folder)


def jobs(folder: Path) -> list[str]:
    """The jobs that the files name which are there."""
    from editcore.records.provenance import read

    there = [folder / name for name in ("delta.safetensors", "guard.parquet")]
    return [str(read(file)["job"]) for file in there if file.exists()]


Scenario = InPlace | Revert | Copy | Guard
SCENARIOS: tuple[Callable[[Bench], Scenario], ...] = (InPlace, Revert, Copy, Guard)


def state_of(folder: Path, *, old: Path, new: Path) -> str:
    """Which of two folders this one is, or that every command which reads it is told."""
    from editcore.errors import ModelError
    from editcore.planning.preflight import model_files

    try:
        model_files(str(folder))
    except ModelError as error:
        assert "is under way, or was interrupted" in str(error)
        return BETWEEN
    found = weights({n: c for n, c in contents(folder).items() if not n.startswith(".")})
    if found == weights(contents(old)):
        return OLD
    assert found == weights(contents(new)), "weights that are neither"
    return NEW


@dataclass
class Tally:
    """How the rounds ended, and how many failed."""

    home: Path
    failed: int = 0

    def round(self, what: str, judge: Callable[[], str]) -> str:
        """The state that one round ended in; a failure is printed."""
        try:
            return judge()
        except AssertionError as error:
            self.failed += 1
            print(f"FAILED: {what}: {error}", flush=True)
            return "failed"


def kills_at_every_step(bench: Bench, tally: Tally, draw: random.Random) -> None:
    """Kill each command before each change it makes to the file system, one after the other."""
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
        print(f"{scenario.name}: killed before each of its {step} steps: {told(ends)}", flush=True)


def kills_at_random(bench: Bench, tally: Tally, draw: random.Random, count: int) -> None:
    """Kill the commands in turn at a random moment of the time in which they write."""
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
        name = make.name  # type: ignore[attr-defined]
        print(f"{name}: {found.total()} kills at random moments: {told(found)}", flush=True)


def two_changes(bench: Bench) -> str:
    """Two changes of one folder: both are in it."""
    folder = bench.fresh(bench.base)
    works = [command("apply", change, folder, "--in-place") for change in bench.changes]
    ends = at_once(works, folder.parent)
    assert [end.status for end in ends] == [0, 0], ends
    assert len(list((folder / KEPT).iterdir())) == 2
    bench.reverted(folder)
    return "two changes, both kept"


def change_and_revert(bench: Bench) -> str:
    """A change, and a revert of the newest: one change is left, whichever came first."""
    folder = bench.fresh(bench.edited[0])
    apply = command("apply", bench.changes[1], folder, "--in-place")
    ends = at_once([apply, command("revert", folder)], folder.parent)
    assert [end.status for end in ends] == [0, 0], ends
    left = weights(contents(folder))
    assert left in [weights(contents(edited)) for edited in bench.edited]
    bench.reverted(folder)
    return "a change and a revert, one change left"


def two_copies(bench: Bench) -> str:
    """Two copies of one name: one is made, the other refused."""
    folder = bench.fresh(bench.base)
    out = folder.with_name("out")
    ends = at_once(
        [command("apply", change, folder, "--out", out) for change in bench.changes], folder.parent
    )
    assert sorted(str(end.status) for end in ends) == ["0", "2"], ends
    assert all(end.plain for end in ends), ends
    made = [end.status for end in ends].index(0)
    assert weights(contents(out)) == weights(contents(bench.edited[made]))
    bench.reverted(out)
    return "two copies of one name, one refused"


def copy_of_what_changes(bench: Bench) -> str:
    """A copy of a folder that changes meanwhile: of the old or the new, never of both."""
    folder = bench.fresh(bench.base)
    out = folder.with_name("out")
    change = command("apply", bench.changes[0], folder, "--in-place")
    ends = at_once([change, command("apply", bench.changes[1], folder, "--out", out)], out.parent)
    assert [end.status for end in ends] == [0, 0], ends
    assert weights(contents(folder)) == weights(contents(bench.edited[0]))
    bench.reverted(out)
    return "a copy of a folder that changes, whole"


RACES = (two_changes, change_and_revert, two_copies, copy_of_what_changes)


def races(bench: Bench, tally: Tally, count: int) -> None:
    """Let two commands begin at once, each kind of race in turn, most often two changes."""
    order = (two_changes, *RACES)
    ends = Counter(
        tally.round(race.__name__, lambda r=race: r(bench))
        for race in (order[n % len(order)] for n in range(count))
    )
    print(f"races of two: {ends.total()}: {told(ends)}", flush=True)


def damaged(bench: Bench, tally: Tally) -> None:
    """Give damaged folders to the commands: one plain error each, and nothing is written."""
    ends: Counter[str] = Counter()
    for kind, harm in MODELS.items():
        for way in ("in place", "copy"):
            ends[tally.round(f"{kind}, {way}", lambda h=harm, w=way: refused(bench, h, w))] += 1
    for kind, harm in RECORDS.items():
        ends[tally.round(kind, lambda h=harm: refused(bench, h, "revert"))] += 1
    print(f"damaged folders: {ends.total()}: {told(ends)}", flush=True)


def refused(bench: Bench, harm: Callable[[Path], object], way: str) -> str:
    """Damage a folder and use it."""
    folder = bench.fresh(bench.edited[0] if way == "revert" else bench.base)
    harm(folder)
    before = contents(folder)
    out = folder.with_name("out")
    arguments: dict[str, tuple[object, ...]] = {
        "in place": ("apply", bench.changes[0], folder, "--in-place"),
        "copy": ("apply", bench.changes[0], folder, "--out", out),
        "revert": ("revert", folder),
    }
    ended = bench.run(*arguments[way])
    assert ended.status == 2, ended
    assert ended.plain, ended
    assert contents(folder) == before
    assert not out.exists()
    return "one plain error"


def told(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command is told."""
    parser.add_argument("--kills", type=int, default=200, help="at random moments")
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--no-damage", action="store_true", help="leave damaged folders out")
    parser.add_argument("--seed", type=int, default=0)


def main(given: argparse.Namespace) -> int:
    """Run everything; the exit status."""
    os.environ["OMP_NUM_THREADS"] = "1"  # children of a process with threads may hang
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Imported here so that no child has to: pyarrow imports pandas when it first makes a table.
    with contextlib.suppress(ImportError):
        import pandas  # noqa: F401
    import torch

    import editcore.runs.adhoc.guard  # noqa: F401

    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="editcore-soak-"))
    draw, tally = random.Random(given.seed), Tally(home)
    bench = Bench.made(home)
    kills_at_every_step(bench, tally, draw)
    kills_at_random(bench, tally, draw, given.kills)
    races(bench, tally, given.races)
    if not given.no_damage:
        damaged(bench, tally)
    print(f"{tally.failed} failed" + (f"; folders in {home}" if tally.failed else ""), flush=True)
    if not tally.failed:
        shutil.rmtree(home)
    return int(tally.failed > 0)
