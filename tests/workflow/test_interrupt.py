"""Ctrl-C in a study: one sentence, no process left, and a command that resumes the study."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, StudyFolder

DEADLINE_SECONDS = 300
SENTENCE = "\nThe study was interrupted. Finished jobs are kept; this resumes it:\n  "
CRASH = ("Error", "Exception", "Traceback", "exit", "log file")


@pytest.fixture
def folder(study_folder: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A study of one model and one editor, whose jobs run in sequence on one core."""
    folder = study_folder.copy(tmp_path)
    editors = {"rome": {"options": {"layer": 1, "steps": 3}}}
    folder.configure(models={"gpt2": {"source": "models/gpt2"}}, editors=editors, mechanism=None)
    return folder


def start(folder: StudyFolder, **environment: str) -> "subprocess.Popen[str]":
    """The study as a terminal starts it: in its own process group, with both streams read.

    The tests may themselves run under bootstrap.py, whose command must not be printed.
    """
    own = {name: value for name, value in folder.environment.items() if name != "EDITCORE_COMMAND"}
    return subprocess.Popen(
        folder.command("--cores", "1"), cwd=folder.path, env=own | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def members(session: int) -> Iterator[str]:
    """The command lines of a session's living processes."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text(encoding="utf-8").rpartition(")")[2].split()
            command = status.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(words[3]) == session and words[0] != "Z":
            yield command


def wait(run: "subprocess.Popen[str]", ready: Callable[[], bool]) -> None:
    """Wait until `ready` is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ready():
        assert time.monotonic() < deadline and run.poll() is None, "the run ended or took too long"
        time.sleep(0.02)


def interrupted(run: "subprocess.Popen[str]", status: tuple[int, ...] = (1,)) -> str:
    """The output after Ctrl-C, which reaches every process of the group."""
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=DEADLINE_SECONDS)
    assert run.returncode in status, output
    assert list(members(run.pid)) == []
    before, sentence, after = output.partition(SENTENCE)
    assert sentence, output
    assert not any(word in before + after for word in CRASH), output
    return after


def test_ctrl_c_keeps_what_is_finished_and_prints_what_resumes_it(folder: StudyFolder) -> None:
    run = start(folder)
    prefixes = folder.path / "results" / "artefacts" / "model=gpt2" / "prefixes.json"
    wait(run, lambda: prefixes.exists() and any(" values --job" in c for c in members(run.pid)))
    command = interrupted(run).strip()
    written = prefixes.stat().st_mtime_ns
    values = prefixes.parent.glob("values-*/dataset=facts/*.safetensors")
    assert list(values) == [], "no half-made result is left"

    program, *arguments = shlex.split(command)
    assert program == "snakemake"
    resumed = subprocess.run(
        [sys.executable, "-m", program, *arguments], cwd=folder.path, env=folder.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert (folder.path / "results" / "report.html").exists()
    assert prefixes.stat().st_mtime_ns == written


def test_the_command_is_what_bootstrap_was_called_with(folder: StudyFolder) -> None:
    typed = "python3 bootstrap.py study --configfile mine.yaml"
    run = start(folder, EDITCORE_COMMAND=typed)
    wait(run, lambda: any("editcore" in c and "--job" in c for c in members(run.pid)))
    assert interrupted(run).strip() == typed


def test_ctrl_c_before_the_first_job_is_the_same_sentence(folder: StudyFolder) -> None:
    run = start(folder)
    wait(run, (folder.path / "results" / "jobs").exists)
    interrupted(run, status=(1, 130))


JOB = "results/jobs/prefixes/model=gpt2.json"


def test_ctrl_c_while_a_job_imports_its_libraries_is_one_line(folder: StudyFolder) -> None:
    planned, output = folder.snakemake("-n")
    assert planned == 0, output
    # transformers reports an interrupted import as an error of its own.
    start = "from editcore.cli import main"
    arguments = ("prefixes", "--job", JOB, "--out", "o.json")
    done = pressed(folder, "transformers.modeling_utils", start, "main()", *arguments)
    assert (done.returncode, done.stderr) == (130, "editcore: stopped\n")


def pressed(
    folder: StudyFolder, module: str, start: str, call: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """A program in which Ctrl-C is pressed as a module begins to be imported, after `start`."""
    code = (
        "import os, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        f"{start}\n"
        "sys.meta_path.insert(0, Press())\n"
        f"{call}\n"
    )
    own = {name: value for name, value in folder.environment.items() if name != "EDITCORE_COMMAND"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder.path, env=own, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["editcore", "pydantic", "editcore.cli.study"])
def test_ctrl_c_while_the_command_line_is_imported_is_one_line(
    folder: StudyFolder, module: str
) -> None:
    done = pressed(folder, module, "import editcore_start", "editcore_start.editcore()", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "editcore: stopped\n")


@pytest.mark.parametrize("module", ["snakemake", "snakemake.workflow"])
def test_ctrl_c_while_snakemake_is_imported_is_the_same_sentence(
    folder: StudyFolder, module: str
) -> None:
    start, call = "import editcore_start", "editcore_start.study()"
    done = pressed(folder, module, start, call, "--cores", "1")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == f"{SENTENCE}snakemake --cores 1\n"


def test_an_ignored_ctrl_c_stays_ignored_while_libraries_are_imported(folder: StudyFolder) -> None:
    start = "import editcore_start; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = pressed(folder, "pydantic", start, "editcore_start.editcore()", "--version")
    assert (done.returncode, done.stderr) == (0, "")


def test_bootstrap_passes_on_what_was_typed(tmp_path: Path) -> None:
    code = (
        "import bootstrap, os, sys\n"
        "bootstrap.check_machine = bootstrap.install = lambda: None\n"
        "os.execve = lambda program, command, variables: print(variables['EDITCORE_COMMAND'])\n"
        "bootstrap.shutil.which = lambda *_, **__: 'snakemake'\n"
        "sys.argv = ['bootstrap.py', 'study', '--configfile', 'my study.yaml']\n"
        "bootstrap.main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "python3 bootstrap.py study --configfile 'my study.yaml'"
