#!/usr/bin/env python3
"""Create editcore's environment in `.venv` and run a command in it. Needs Python 3.11, pip and git.

The environment has exactly the versions of `requirements.lock`, and editcore with its plugins as
editable installs. Nothing is installed twice, so a second call starts at once.
"""

import argparse
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / "bin"
PINS = ROOT / "requirements.lock"
OLDEST = (3, 11)
# The whole suite uses every core; more than four workers only load torch more often. By default,
# files with few tests would be last, which are the longest; tests/conftest.py puts them first.
WORKERS = ("-n", "auto", "--maxprocesses", "4")
WHOLE_SUITE = (*WORKERS, "--dist", "loadfile", "--no-loadscope-reorder")

EXAMPLES = """\
examples:
  python3 bootstrap.py study                                  the default study
  python3 bootstrap.py study --configfile config/smoke.yaml   a small version, in under a minute
  python3 bootstrap.py study -n                               dry run: list what would run
  python3 bootstrap.py test                                   all tests
  python3 bootstrap.py test tests/records/test_tables.py -x   some tests; arguments go to pytest
  python3 bootstrap.py run editcore plugins                   run any command in the environment
  python3 bootstrap.py add ./path/to/plugin                   install a package into it
  python3 bootstrap.py install                                only create the environment
"""


class BootstrapError(Exception):
    """Something that the user has to fix; the message explains how."""


def main(arguments: Sequence[str]) -> int:
    """Install what is missing and run the given command; 2 after an error."""
    verb: str = parser().parse_args(arguments[:1]).verb
    rest = list(arguments[1:])
    try:
        check_machine()
        install()
        if verb == "add":
            add(rest)
        command = commands(verb, rest)
        if command:
            become(command)
    except BootstrapError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bootstrap: interrupted; call it again to resume", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line: one verb; all further arguments go to the command that it runs."""
    out = argparse.ArgumentParser(
        prog="bootstrap.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument(
        "verb",
        choices=("study", "test", "run", "add", "install"),
        help="study: snakemake; test: pytest; run: any command; add: pip install; "
        "install: nothing else",
    )
    return out


def check_machine() -> None:
    """Raise `BootstrapError` if the environment cannot work with this Python or on this system."""
    if sys.version_info < OLDEST:
        raise BootstrapError(
            f"this is Python {sys.version.split()[0]}, and editcore needs 3.11 or newer; "
            "run it with a newer Python, for example `python3.11 bootstrap.py ...`"
        )
    if os.name == "nt":
        raise BootstrapError("Windows is not supported; use the Windows Subsystem for Linux (WSL)")
    if shutil.which("git") is None:
        raise BootstrapError("git is missing, and Snakemake needs it; on Debian: apt install git")


def install() -> None:
    """Bring `.venv` up to date in two stages; each is skipped while its inputs are unchanged."""
    make_environment()
    here = f"{ENVIRONMENT} {sys.version}"
    stage("pins", digest([PINS], here), "the pinned packages (takes minutes)", ["-r", str(PINS)])
    projects = [ROOT, *sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml"))]
    editables = [part for project in projects for part in ("-e", str(project))]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    declared = digest([PINS, *(p / "pyproject.toml" for p in projects)], here)
    stage("projects", declared, "editcore and its plugins", [*offline, *editables])


def make_environment() -> None:
    """Create `.venv` without pip, unless it exists and works with this version of Python.

    Debian may lack ensurepip, so packages are installed by the pip outside the environment.
    """
    python = BIN / "python"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    if python.exists() and output([str(python), "-c", ask]) == version:
        return
    say(f"creating {ENVIRONMENT.relative_to(ROOT)} with Python {version}")
    venv.EnvBuilder(with_pip=False, clear=True).create(ENVIRONMENT)


def stage(name: str, state: str, what: str, arguments: list[str]) -> None:
    """Run `pip install` with `arguments` unless it has succeeded before for the same `state`."""
    stamp = ENVIRONMENT / f"installed-{name}"
    if stamp.exists() and stamp.read_text() == state:
        return
    say(f"installing {what}")
    pip = [*find_pip(), "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, *arguments], cwd=ROOT).returncode:
        raise BootstrapError(
            f"pip could not install {what}; see its message above. "
            "Fix the problem (network, disk space) and run this again: it continues from here"
        )
    stamp.write_text(state)


def add(packages: list[str]) -> None:
    """Install what `pip install` would, without changing the pinned versions.

    A folder is built with the environment's own build tools, so that this needs no network.
    """
    if not packages:
        raise BootstrapError("add needs a package, for example `bootstrap.py add ./path/to/plugin`")
    offline = ["--no-build-isolation", "--disable-pip-version-check"]
    command = [*find_pip(), "install", *offline, "--constraint", str(PINS), *packages]
    if subprocess.run(command).returncode:
        raise BootstrapError(f"pip could not install {' '.join(packages)}; see its message above")


def find_pip() -> list[str]:
    """The command that runs this Python's pip on `.venv`."""
    if importlib.util.find_spec("pip") is None:
        raise BootstrapError(f"{sys.executable} has no pip; on Debian: apt install python3-pip")
    return [sys.executable, "-m", "pip", "--python", str(BIN / "python")]


def digest(files: Iterable[Path], extra: str) -> str:
    """SHA-256 over `extra` and the bytes of `files`."""
    out = hashlib.sha256(extra.encode())
    for file in files:
        out.update(file.read_bytes())
    return out.hexdigest()


def commands(verb: str, rest: list[str]) -> list[str]:
    """The command line of `verb`; empty if there is nothing to run."""
    if verb == "study":
        return ["python", "-m", "editcore_start", *rest]
    if verb == "test":
        return ["pytest", *(rest or WHOLE_SUITE)]
    if verb == "run" and not rest:
        raise BootstrapError("run needs a command, for example `bootstrap.py run editcore plugins`")
    return rest if verb == "run" else []


def become(command: list[str]) -> NoReturn:
    """Replace this process with `command`, in the environment and in the project's root."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    variables["VIRTUAL_ENV"] = str(ENVIRONMENT)
    # The command that an interrupted study shows for resuming it.
    variables["EDITCORE_COMMAND"] = shlex.join(["python3", *sys.argv])
    variables["PATH"] = f"{BIN}{os.pathsep}{variables.get('PATH', os.defpath)}"
    program = shutil.which(command[0], path=variables["PATH"])
    if program is None:
        raise BootstrapError(f"there is no command {command[0]!r} in .venv or on the PATH")
    os.chdir(ROOT)
    os.execve(program, command, variables)


def output(command: list[str]) -> str:
    """What `command` prints, stripped; empty if it cannot run."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def say(text: str) -> None:
    """Report progress on standard error, so that standard output stays clean."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
