"""A virtual environment with wheels of our projects, and an empty folder to work in."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from refresh.release import build


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and an empty folder to work in."""

    path: Path
    folder: Path

    def run(
        self, *command: str, status: int = 0, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's commands in the folder; it must end with `status`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "EDITCORE"))}
        own = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [str(self.path / "bin" / command[0]), *command[1:]],
            cwd=self.folder if cwd is None else cwd,
            capture_output=True,
            text=True,
            check=False,
            env=kept | own | variables,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    @property
    def site(self) -> Path:
        """The folder of its own packages."""
        (found,) = self.path.glob("lib/python*/site-packages")
        return found


def environment(home: Path, projects: Iterable[Path]) -> Environment:
    """A new environment in `home` with the projects' wheels, and the packages of this one."""
    made = Environment(home / "venv", home / "work")
    made.folder.mkdir()
    venv.create(made.path, with_pip=False)
    shared = [entry for entry in sys.path if entry.endswith("site-packages")]
    (made.site / "shared.pth").write_text("\n".join(shared))
    wheels = [str(build(project, home / "wheels")) for project in projects]
    offline = ("--no-index", "--no-deps", "--no-compile", "--force-reinstall")
    quiet = ("--quiet", "--disable-pip-version-check")
    python = str(made.path / "bin" / "python")
    command = [*_pip(), "--python", python, "install", *quiet, *offline, *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def _pip() -> list[str]:
    """The pip outside these tests' environment, which has none."""
    python = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip(f"{python} has no pip")
    return [python, "-m", "pip"]
