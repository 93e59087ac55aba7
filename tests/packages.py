"""Builds a plugin's wheel, installs it into a folder, and runs it there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from refresh.release import build


def install(project: Path, site: Path) -> None:
    """Build the project's wheel and unpack it into `site`."""
    wheel = build(project, site)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    wheel.unlink()


def editcore(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line, with the packages of `site` installed in addition to ours."""
    return _python(site, "-c", "from editcore.cli import main; main()", *arguments, cwd=cwd)


def run(site: Path, module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a module as a program, with the packages of `site` installed in addition to ours."""
    return _python(site, "-m", module, *arguments, cwd=cwd)


def _python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(site), *([given] if (given := os.environ.get("PYTHONPATH")) else [])]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
        },
    )
