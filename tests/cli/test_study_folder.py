"""`editcore init` creates a study that can be planned; `editcore run` starts Snakemake there."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import editcore_start
from editcore.config.study import load
from editcore.planning.planner import plan
from tests.command_line import done, refused, run
from tests.studies import model_files, record, write_json

FILES = {
    "README.md",
    "Snakefile",
    "config.yaml",
    "profiles/default/profile.yaml",
    "profiles/slurm/profile.yaml",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model and two facts."""
    monkeypatch.chdir(tmp_path)
    model_files(tmp_path / "model")
    write_json(tmp_path / "mine.json", [record(number, f"Coral {number}") for number in range(2)])
    return tmp_path


def created(*arguments: str) -> Path:
    done("init", "study", *arguments)
    return Path("study")


def names(study: Path) -> set[str]:
    return {str(file.relative_to(study)) for file in study.rglob("*") if file.is_file()}


def planned(study: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(study)
    return plan(load(Path("config.yaml")), "config.yaml")


def test_it_is_a_study_of_a_bundled_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = created()
    assert names(study) == FILES
    assert not list(Path().glob(".study*")), "no leftovers"
    jobs = planned(study, monkeypatch)
    assert {job.model.name for job in jobs.edits.values()} == {"tiny-gpt2"}
    assert jobs.sequences and jobs.moments


def test_a_model_and_facts_of_one_s_own_are_found_from_the_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = created("--model", "model", "--facts", "mine.json")
    assert names(study) == {*FILES, "facts.json"}
    jobs = planned(study, monkeypatch)
    assert {job.model.source for job in jobs.edits.values()} == {str(folder / "model")}
    assert {tuple(job.case_ids) for job in jobs.edits.values()} == {(0, 1)}
    assert not jobs.moments, "C would take long to measure on a large model"


def test_a_model_of_one_s_own_is_asked_about_the_real_world(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = created("--model", "model")
    datasets = load(study / "config.yaml").datasets
    assert {data.path for data in datasets.values()} == {"resources/real/facts.json"}
    assert {data.only for data in datasets.values()} == {"hard", "normal"}


def test_every_choice_is_explained(folder: Path) -> None:
    """Each line that sets something has a comment on it, or before its neighbours."""
    lines = (created() / "config.yaml").read_text().splitlines()
    settings = [n for n, line in enumerate(lines) if ":" in line and line.lstrip()[0] != "#"]
    unexplained = [
        lines[n] for n in settings
        if "#" not in lines[n] and not any("#" in line for line in (lines[n - 1], lines[n + 1]))
    ]  # fmt: skip
    assert unexplained == []
    assert max(map(len, lines)) <= 110


def test_a_folder_or_what_is_in_it_is_never_overwritten(folder: Path) -> None:
    (folder / "study").mkdir()
    (folder / "study" / "config.yaml").write_text("mine")
    assert "study already exists" in refused("init", "study")
    assert names(Path("study")) == {"config.yaml"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What replaced the process, and the command that resumes a study."""
    calls: list[Any] = []

    def become(program: str, arguments: list[str]) -> None:
        calls.append((program, arguments, os.environ["EDITCORE_COMMAND"]))

    monkeypatch.setenv("EDITCORE_COMMAND", "")  # restored at the end
    monkeypatch.delenv("EDITCORE_COMMAND")
    monkeypatch.setattr(editcore_start.os, "execv", become)
    return calls


def test_run_passes_all_arguments_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, started: list[Any]
) -> None:
    monkeypatch.chdir(created())
    run("run", "-n", "--cores", "3", "--config", "seed=1")
    ((program, arguments, resume),) = started
    assert program == sys.executable
    assert arguments[-5:] == ["-n", "--cores", "3", "--config", "seed=1"]
    assert resume == "editcore run -n --cores 3 --config seed=1"


def test_run_says_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, started: list[Any]
) -> None:
    assert "`editcore init FOLDER`" in refused("run")
    monkeypatch.chdir(created())
    monkeypatch.setattr("editcore.cli.study.find_spec", lambda name: None)
    assert "pip install 'editcore[study]'" in refused("run")
    assert started == []
