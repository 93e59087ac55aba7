"""A copy of the repository with a working environment, as a user has it."""

import contextlib
import io
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from click.testing import CliRunner

from editcore.cli import main
from tests.docs.pages import EDITOR_PAGE, ROOT, code, write_package
from tests.docs.shown_commands import COMMANDS, Run

PARTS = (
    "benchmarks", "config", "editcore", "plugins", "refresh", "resources",
    "snakemake_logger_plugin_editcore", "tests", "workflow",
)  # fmt: skip
FILES = (
    "bootstrap.py",
    "config.yaml",
    "editcore_lean.py",
    "editcore_start.py",
    "editcore_warm.py",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
)
UNUSED = shutil.ignore_patterns("__pycache__", ".*cache", "*.egg-info")
# The environment counts as installed: everything that the two stages install is on its path.
INSTALLED = """\
import bootstrap
def stage(name, state, *_):
    (bootstrap.ENVIRONMENT / f"installed-{name}").write_text(state)
bootstrap.stage = stage
bootstrap.install()
"""
# Snakemake takes seconds to import, so its commands are run in forks of one process that has.
SNAKEMAKE = """\
import json, os, sys, tempfile
from multiprocessing import get_context
import editcore.planning.planner, snakemake.cli, snakemake.workflow

def outcome(words):
    with tempfile.TemporaryFile() as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        sys.argv = words
        try:
            snakemake.cli.main()
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        out.seek(0)
        return status, out.read().decode()

with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
    json.dump(pool.map(outcome, json.load(sys.stdin), chunksize=1), sys.stdout)
"""


@dataclass(frozen=True)
class Done:
    """Exit status and everything printed."""

    status: int
    output: str


class Checkout:
    """The copy, and functions that run commands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Done] = {}
        for name in PARTS:
            shutil.copytree(ROOT / name, path / name, ignore=UNUSED)
        for name in FILES:
            shutil.copy(ROOT / name, path)
        self._make_environment()

    def _make_environment(self) -> None:
        """A virtual environment that sees the copy, and the packages of this test's own."""
        own = self.path / ".venv"
        venv.EnvBuilder(with_pip=False).create(own)
        (site,) = own.glob("lib/python*/site-packages")
        plugins = sorted((self.path / "plugins").iterdir())
        shared = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
        (site / "shared.pth").write_text("\n".join(map(str, [self.path, *plugins, shared])))
        for name in ("editcore", "pytest", "snakemake"):
            script = (Path(sysconfig.get_path("scripts")) / name).read_text(encoding="utf-8")
            (own / "bin" / name).write_text(
                f"#!{own}/bin/python\n" + script.split("\n", 1)[1], encoding="utf-8"
            )
            (own / "bin" / name).chmod(0o755)
        subprocess.run([self.python, "-c", INSTALLED], cwd=self.path, check=True)

    @property
    def python(self) -> Path:
        """The Python outside all environments, with which users call bootstrap.py."""
        return Path(sys.base_prefix) / "bin" / "python3"

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The variables of a shell without an active environment and without a hub."""
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        own = str(Path(sys.prefix) / "bin")
        folders = [str(self.python.parent), *kept["PATH"].split(os.pathsep)]
        return kept | {
            "PATH": os.pathsep.join(folder for folder in folders if folder != own),
            "HF_HUB_OFFLINE": "1",
            "XDG_CACHE_HOME": str(self.path / ".cache"),
        }

    def run(self, command: str) -> Done:
        """Run a command of the table, after the one that it needs; each line runs only once."""
        way = COMMANDS[command]
        assert isinstance(way, Run)
        if way.after:
            self.run(way.after)
        line = way.line(command)
        if line not in self.done:
            self.done[line] = self._start(line)
        return self.done[line]

    def _start(self, line: str) -> Done:
        """Run what loads models in this process, which has already imported torch."""
        if line.startswith(("editcore ", "python -m ")):
            with pytest.MonkeyPatch.context() as patch, contextlib.chdir(self.path):
                patch.setenv("XDG_CACHE_HOME", self.environment["XDG_CACHE_HOME"])
                return _here(shlex.split(line))
        if line.startswith("snakemake "):
            self.done |= self._by_snakemake()
            return self.done[line]
        return self._shell(line)

    def _by_snakemake(self) -> dict[str, Done]:
        """All lines of the table that call Snakemake, which need no other before."""
        ways = {command: way for command, way in COMMANDS.items() if isinstance(way, Run)}
        lines = [way.line(command) for command, way in ways.items()]
        lines = sorted({line for line in lines if line.startswith("snakemake ")})
        own = self.path / ".venv" / "bin"
        done = subprocess.run(
            [own / "python", "-c", SNAKEMAKE],
            cwd=self.path,
            env={**self.environment, "PATH": f"{own}{os.pathsep}{self.environment['PATH']}"},
            input=json.dumps([shlex.split(line) for line in lines]),
            capture_output=True,
            text=True,
            check=True,
        )
        ends = [Done(*end) for end in json.loads(done.stdout)]
        return dict(zip(lines, ends, strict=True))

    def _shell(self, line: str) -> Done:
        """Run in the environment, except for bootstrap.py, which enters it."""
        activated = line if "bootstrap.py" in line else f". .venv/bin/activate; {line}"
        done = subprocess.run(
            ["bash", "-c", activated],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)


def _here(words: list[str]) -> Done:
    """Run `editcore …`, or `python -m module …`."""
    if words[0] == "editcore":
        result = CliRunner().invoke(main, words[1:])
        return Done(result.exit_code, result.output)
    _, _, module, *arguments = words
    printed, status = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [module, *arguments])
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(status, printed.getvalue())


def with_examples(checkout: Checkout) -> Checkout:
    """Add the files that the commands name: a model, its facts, texts and study, and the page's."""
    place, resources = checkout.path / "path" / "to", checkout.path / "resources"
    shutil.copytree(resources / "models" / "tiny-gpt2", place / "model")
    facts = json.loads((resources / "world" / "hard.json").read_text(encoding="utf-8"))[:2]
    for path in (place / "facts.json", checkout.path / "edits.json"):
        path.write_text(json.dumps(facts), encoding="utf-8")
    shutil.copy(resources / "world" / "moments.json", place / "texts.json")
    shutil.copy(resources / "world" / "perplexity.json", place / "other-texts.json")
    (study,) = (block for block in code("README.md", "yaml") if "mine:" in block)
    mine = study.replace("device: cuda", "device: cpu")
    (checkout.path / "mine.yaml").write_text(mine, encoding="utf-8")
    (random,) = (block for block in code(EDITOR_PAGE, "yaml") if block.startswith("# random.yaml"))
    (checkout.path / "random.yaml").write_text(random, encoding="utf-8")
    write_package(place / "editcore-random")
    return checkout
