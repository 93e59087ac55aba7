"""A folder with a study of tiny random models, and Snakemake to run it there."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.studies import study_config, write_config, write_data

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("gpt2", "gptj", "llama")


@dataclass(frozen=True)
class StudyFolder:
    """A working directory with `study.yaml`, its data and its models."""

    path: Path

    def command(self, *arguments: str, config: Path | None = None) -> list[str]:
        """Snakemake's command line for the study, or for another config file."""
        config = self.path / "study.yaml" if config is None else config
        snakefile = str(ROOT / "workflow" / "Snakefile")
        base = [sys.executable, "-m", "snakemake", "--snakefile", snakefile]
        return [*base, "--configfile", str(config), "--cores", "2", *arguments]

    def snakemake(self, *arguments: str, config: Path | None = None) -> tuple[int, str]:
        """Exit status and everything printed."""
        done = subprocess.run(
            self.command(*arguments, config=config),
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def environment(self) -> dict[str, str]:
        """No network, and no environment activated: the workflow finds its own command."""
        path = os.pathsep.join(filter(None, [str(self.plugins), os.getenv("PYTHONPATH")]))
        return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}

    @property
    def plugins(self) -> Path:
        """Modules and records of plugins that are installed for this study alone."""
        return self.path / "plugins"

    def configure(self, **sections: Any) -> None:
        """Write `study.yaml` with some sections other than those of `workflow_config`."""
        write_config(self.path / "study.yaml", workflow_config(**sections))

    def files(self, kind: str) -> dict[str, int]:
        """The files below `results/<kind>` and when each was written."""
        found = (self.path / "results" / kind).rglob("shard-*")
        return {str(file): file.stat().st_mtime_ns for file in found if file.is_file()}

    def copy(self, target: Path) -> "StudyFolder":
        """The same folder elsewhere, results and Snakemake's records included."""
        shutil.copytree(self.path, target, dirs_exist_ok=True, symlinks=True)
        return StudyFolder(target)


def editors(steps: int = 3) -> dict[str, Any]:
    """Two editors with second moment; `steps` is an option of the first alone."""
    return {
        "rome": {"options": {"layer": 1, "steps": steps}},
        "c-rome": {"options": {"layer": 1, "steps": 3}},
    }


def workflow_config(**sections: Any) -> dict[str, Any]:
    """A study of three architectures with two editors, one shard each."""
    models = {kind: {"source": f"models/{kind}"} for kind in MODELS}
    datasets = {"facts": {"path": "data/facts.json", "limit": 2}}
    mechanism = {"editor": "rome", "hard": "facts", "normal": "facts"}
    base: dict[str, Any] = {"models": models, "editors": editors(), "datasets": datasets}
    base["mechanism"] = mechanism
    return study_config(**(base | {"metrics": ["accuracy", "score"]} | sections))


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The study before anything has run; copy it before changing it."""
    from editcore.testing.models import save_tiny_model

    folder = StudyFolder(tmp_path_factory.mktemp("study"))
    for kind in MODELS:
        save_tiny_model(kind, folder.path / "models" / kind)
    write_data(folder.path)
    folder.configure()
    return folder


@pytest.fixture(scope="session")
def finished(study_folder: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The study after a whole run; copy it before changing it."""
    folder = study_folder.copy(tmp_path_factory.mktemp("finished"))
    status, output = folder.snakemake()
    assert status == 0, output
    return folder
