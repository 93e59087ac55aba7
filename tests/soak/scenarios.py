"""The commands that are killed, raced or given damaged folders, and what must hold afterwards."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from click.testing import CliRunner

from editcore.atomic import LOCK, finish_moves
from tests.children import Child, Ended, Work, at_once
from tests.model_folders import KEPT, contents, sharded, write_delta

Files = dict[str, bytes]
OLD, NEW, BETWEEN = "old", "new", "repaired by the next command"
FORMATS = ("peft", "gguf-lora", "model")


def command(*arguments: object) -> Work:
    """One command of editcore, to be run in a child process."""
    from editcore.cli import main

    return lambda: main([str(each) for each in arguments], standalone_mode=False)


def export(kind: str, change: Path, place: Path) -> Work:
    """`export` of a change of the folder `model` in `place` to `out` there.

    Cards contain the names as they were given, so these are the same at every place.
    """

    def work() -> None:
        os.chdir(place)
        command("export", change, "model", "--format", kind, "--out", "out")()

    return work


def completed(work: Work, log: Path) -> Ended:
    """Run `work` in a child, to its end; raises `AssertionError` if it fails."""
    ended = Child(work, log).wait()
    assert ended.status == 0, ended
    return ended


def weights(files: Files) -> Files:
    """The files without records of replaced weights, whose metadata have no fixed order."""
    return {name: content for name, content in files.items() if not name.startswith(KEPT)}


@dataclass(frozen=True)
class Bench:
    """A model, two changes of it, and what undisturbed commands make of these.

    `edited` are the model's folder after each change, `both` after both, `guarded` an outcome of
    `guard`, and `exported` the first change by format.
    """

    home: Path
    base: Path
    changes: tuple[Path, Path]
    edited: tuple[Path, Path]
    both: Path
    guarded: Path
    exported: Mapping[str, Path]

    @classmethod
    def made(cls, home: Path) -> "Bench":
        """A small random model in two or more files, and its changes, made without interruption."""
        base = sharded(home / "base")
        changes = tuple(write_delta(home / f"change-{n}.safetensors", n) for n in range(2))
        edited = tuple(home / f"edited-{n}" for n in range(2))
        for change, folder in zip(changes, edited, strict=True):
            # In this process, so that everything is imported when children start.
            command("apply", change, base, "--out", folder)()
        both = home / "both"
        command("apply", changes[1], edited[0], "--out", both)()
        guarded = home / "guarded"
        completed(lambda: write_outcome(guarded, OLD), home / "log")
        exported = {}
        for kind in FORMATS:
            place = home / f"exported-{kind}"
            shutil.copytree(base, place / "model")
            completed(export(kind, changes[0], place), home / "log")
            exported[kind] = place / "out"
        return cls(home, base, changes, edited, both, guarded, exported)

    def fresh(self, source: Path) -> Path:
        """A copy of a folder at a new place."""
        place = Path(tempfile.mkdtemp(dir=self.home, prefix="round-"))
        return Path(shutil.copytree(source, place / "model"))

    def run(self, *arguments: object) -> Ended:
        """Run one command to its end, in this process."""
        from editcore.cli import main

        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return Ended(result.exit_code, result.output)

    def reverted(self, folder: Path) -> None:
        """Revert all changes of a folder; raises `AssertionError` unless it is then as at first."""
        ended = self.run("revert", folder, "--all")
        assert ended.status == 0 or "applied nothing here" in ended.output, ended
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
        """The state left by the kill; the next command is `apply` or `revert`."""
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


class RevertEdit(InPlace):
    """`revert --edit` of a change below another."""

    name = "revert --edit"

    def __init__(self, bench: Bench) -> None:
        self.bench, self.folder = bench, bench.fresh(bench.both)
        self.work = command("revert", self.folder, "--edit", "1")

    def judge(self, draw: random.Random) -> str:
        """Only the other change is left, once the same command has succeeded or `revert` has."""
        state = state_of(self.folder, old=self.bench.both, new=self.bench.edited[1])
        plain = state == BETWEEN and draw.random() < 0.5
        if state != NEW:
            ended = self.bench.run("revert", self.folder, *([] if plain else ["--edit", "1"]))
            assert ended.status == 0, ended
            assert weights(contents(self.folder)) == weights(contents(self.bench.edited[1]))
        assert [file.name for file in (self.folder / KEPT).iterdir()] == ["0002.safetensors"]
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
        """The copy is complete or does not exist; the same command then makes it."""
        state = NEW if self.out.exists() else OLD
        if state == OLD:
            ended = self.bench.run(*self.arguments)
            assert ended.status == 0, ended
            beside = sorted(file.name for file in self.out.parent.iterdir())
            assert beside == ["model", "out"], beside
        assert weights(contents(self.out)) == weights(contents(self.bench.edited[0]))
        self.bench.reverted(self.out)
        return state


class Export:
    """`export`, in one of its formats."""

    name: ClassVar[str]
    kind: ClassVar[str]

    def __init__(self, bench: Bench) -> None:
        self.bench, self.folder = bench, bench.fresh(bench.base)
        self.out = self.folder.with_name("out")
        self.work = export(self.kind, bench.changes[0], self.folder.parent)

    def judge(self, draw: random.Random) -> str:
        """The export is complete or does not exist; the same command then makes it.

        Nothing else is left, but for the empty lock files of a command that was killed after the
        export had got its name.
        """
        state = NEW if self.out.exists() else OLD
        if state == OLD:
            completed(self.work, self.bench.home / "log")
        beside = {file.name for file in self.out.parent.iterdir()} - {"model", "out"}
        assert beside <= ({f".out{LOCK}"} if state == NEW else set()), beside
        assert weights(contents(self.out)) == weights(contents(self.bench.exported[self.kind]))
        model = contents(self.folder)
        assert model.pop(LOCK, b"") == b""
        assert model == contents(self.bench.base)
        return state


class ExportForPeft(Export):
    """`export --format peft`."""

    name, kind = "export --format peft", "peft"


class ExportForLlamaCpp(Export):
    """`export --format gguf-lora`."""

    name, kind = "export --format gguf-lora", "gguf-lora"


class ExportOfModel(Export):
    """`export --format model`."""

    name, kind = "export --format model", "model"


class Guard:
    """The files that `guard` writes at its end, replacing those of an earlier run."""

    name: ClassVar[str] = "guard --out"

    def __init__(self, bench: Bench) -> None:
        self.folder, self.log = bench.fresh(bench.guarded), bench.home / "log"
        self.work = lambda: write_outcome(self.folder, NEW)

    def judge(self, draw: random.Random) -> str:
        """The files of one run once the moves are finished; the next run is not affected."""

        def jobs_in_turn() -> None:
            print(*jobs(self.folder))
            finish_moves(self.folder)
            print(*jobs(self.folder))
            self.work()
            print(*jobs(self.folder))

        # In a child, since a process that has read tables cannot be forked.
        ended = completed(jobs_in_turn, self.log)
        found, moved, after = (line.split() for line in ended.output.splitlines())
        assert moved in ([OLD, OLD], [NEW, NEW]), moved
        assert len(set(found)) == 1, found
        assert after == [NEW, NEW], after
        assert sorted(contents(self.folder)) == ["delta.safetensors", "guard.parquet"]
        return found[0] if found == moved else BETWEEN


def write_outcome(folder: Path, job: str) -> None:
    """Write the files of `guard`, with the name of their job."""
    from editcore.runs.adhoc.guard import Guarded
    from editcore.runs.adhoc.measured_with import MeasuredWith
    from editcore.updates.delta import Delta

    measured = MeasuredWith("texts.json", 1, None, (), "float32", "float32", None)
    row = {"model": job, "editor": "e", "step": 0, "status": "ok", "accepted": True}
    Guarded([row], Delta({}), job, measured).save(folder)


def jobs(folder: Path) -> list[str]:
    """The names of the jobs in the files that exist."""
    from editcore.records.provenance import read

    there = [folder / name for name in ("delta.safetensors", "guard.parquet")]
    return [str(read(file)["job"]) for file in there if file.exists()]


SCENARIOS: tuple[type[InPlace | Copy | Export | Guard], ...] = (
    InPlace,
    Revert,
    RevertEdit,
    Copy,
    Guard,
    ExportForPeft,
    ExportForLlamaCpp,
    ExportOfModel,
)


def state_of(folder: Path, *, old: Path, new: Path) -> str:
    """Which of two folders this one equals, or that every command names the interruption."""
    from editcore.errors import ModelError
    from editcore.planning.preflight import model_files

    try:
        model_files(str(folder))
    except ModelError as error:
        assert "is in progress or was interrupted" in str(error)
        return BETWEEN
    found = weights({n: c for n, c in contents(folder).items() if not n.startswith(".")})
    if found == weights(contents(old)):
        return OLD
    assert found == weights(contents(new)), "the weights are neither old nor new"
    return NEW


def two_changes(bench: Bench) -> str:
    """Two changes of one folder: both are in it afterwards."""
    folder = bench.fresh(bench.base)
    works = [command("apply", change, folder, "--in-place") for change in bench.changes]
    ends = at_once(works, folder.parent)
    assert [end.status for end in ends] == [0, 0], ends
    assert len(list((folder / KEPT).iterdir())) == 2
    bench.reverted(folder)
    return "both kept"


def a_change_and_a_revert(bench: Bench) -> str:
    """A change, and a revert of the latest: one change is left, in either order."""
    folder = bench.fresh(bench.edited[0])
    apply = command("apply", bench.changes[1], folder, "--in-place")
    ends = at_once([apply, command("revert", folder)], folder.parent)
    assert [end.status for end in ends] == [0, 0], ends
    left = weights(contents(folder))
    assert left in [weights(contents(edited)) for edited in bench.edited]
    bench.reverted(folder)
    return "one change left"


def two_copies_of_one_name(bench: Bench) -> str:
    """Two copies with one name: one is made, the other refused."""
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
    return "one made, one refused"


def a_change_and_a_copy_of_its_folder(bench: Bench) -> str:
    """A copy of a folder during a change: of the old or new, never a mixture."""
    folder = bench.fresh(bench.base)
    out = folder.with_name("out")
    change = command("apply", bench.changes[0], folder, "--in-place")
    ends = at_once([change, command("apply", bench.changes[1], folder, "--out", out)], out.parent)
    assert [end.status for end in ends] == [0, 0], ends
    assert weights(contents(folder)) == weights(contents(bench.edited[0]))
    bench.reverted(out)
    return "whole, of the old or the new"


RACES = (
    two_changes,
    a_change_and_a_revert,
    two_copies_of_one_name,
    a_change_and_a_copy_of_its_folder,
)


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
