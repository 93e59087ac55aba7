"""Jobs that are forked from a process with torch loaded end, and are ended, as others are."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import editcore_warm
from editcore.cli.jobs import TABLE
from editcore.config.texts import PrefixSection
from editcore.planning.jobs import ModelSpec, PrefixJob
from editcore_start import WARM
from editcore_warm import Warm

# What `editcore` does, and whether the command ran elsewhere.
COMMAND = """
import signal
import sys
import editcore_warm
# Tests may run where it is ignored, as in a script's background.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "editcore"
status = editcore_warm.ended_elsewhere()
print("elsewhere:", status)
editcore_warm.end_as(status or 0)
"""
Arguments = Callable[[int], list[str]]
LONG = 50_000  # prefixes, more than a test waits for


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    started = editcore_warm.start()
    assert started is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WARM, started.path)
        yield started
    started.close()


def command(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env={**os.environ, **environment},
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.fixture
def prefixes_of(saved_model: Callable[[str], Path], tmp_path: Path) -> Callable[[int], list[str]]:
    """The arguments of a command that samples that many prefixes and writes `prefixes.json`."""

    def arguments(number: int) -> list[str]:
        model = ModelSpec(name="tiny", source=str(saved_model("gpt2")))
        job = PrefixJob(
            model=model, prefixes=PrefixSection(lengths=((5, number),), seeds=("The",)), seed=0
        )
        (tmp_path / "job.json").write_text(job.as_json())
        files = {"job": "job.json", "out": "prefixes.json", "usage": "usage.json"}
        given = [(f"--{option}", str(tmp_path / file)) for option, file in files.items()]
        return ["prefixes", *itertools.chain(*given)]

    return arguments


def job_of(server: Warm, process: "subprocess.Popen[str]") -> psutil.Process:
    """The process that the server has forked for a command, once it has."""
    since = psutil.Process(process.pid).create_time()
    for _ in range(600):
        for found in psutil.Process(server.process.pid).children():
            if found.create_time() >= since:
                time.sleep(0.5)  # past its first moments
                return found
        time.sleep(0.1)
    pytest.fail("no process was forked")


def test_the_commands_are_those_that_run_jobs() -> None:
    assert set(editcore_warm.COMMANDS) == {command.name for command in TABLE}


def test_a_job_does_elsewhere_what_it_does_here(
    warm: Warm, tmp_path: Path, prefixes_of: Arguments
) -> None:
    arguments = prefixes_of(3)
    status, said = ended(command(*arguments))
    assert (status, "elsewhere: 0" in said) == (0, True), said
    forked = (tmp_path / "prefixes.json").read_bytes()
    assert (tmp_path / "usage.json").read_text().startswith('{"seconds": ')
    status, said = ended(command(*arguments, **{WARM: "no"}))
    assert (status, "elsewhere: None" in said) == (0, True)
    done = subprocess.run(["editcore", *arguments], env={**os.environ, WARM: "no"}, check=False)
    assert done.returncode == 0
    assert (tmp_path / "prefixes.json").read_bytes() == forked


def test_a_refusal_reaches_the_command_s_own_streams(warm: Warm) -> None:
    status, said = ended(command("prefixes", "--job", "absent.json", "--out", "x.json"))
    assert status == 2
    assert "elsewhere: 2" in said
    assert "absent.json" in said


@pytest.mark.parametrize(
    "environment", [{"HF_HOME": "elsewhere"}, {"PYTHONPATH": "elsewhere"}, {WARM: "absent"}]
)
def test_what_would_differ_is_not_done_elsewhere(warm: Warm, environment: dict[str, str]) -> None:
    status, said = ended(command("prefixes", "--help", **environment))
    assert (status, "elsewhere: None" in said) == (0, True), said


def test_other_commands_stay_where_they_are(warm: Warm) -> None:
    assert "elsewhere: None" in ended(command("plugins"))[1]


@pytest.mark.parametrize(
    ("sent", "status", "sentence"),
    [
        (signal.SIGINT, 130, "editcore: stopped"),
        (signal.SIGTERM, -15, ""),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_a_job_gets_the_signals_that_its_command_gets(
    warm: Warm, tmp_path: Path, prefixes_of: Arguments, sent: int, status: int, sentence: str
) -> None:
    process = command(*prefixes_of(LONG))
    job = job_of(warm, process)
    process.send_signal(sent)
    found, said = ended(process)
    assert found == status
    assert sentence in said
    job.wait(10)
    assert not (tmp_path / "prefixes.json").exists()


def test_a_job_s_own_end_by_a_signal_is_the_command_s(warm: Warm, prefixes_of: Arguments) -> None:
    process = command(*prefixes_of(LONG))
    job_of(warm, process).kill()
    assert ended(process)[0] == -signal.SIGKILL


def test_jobs_end_with_their_server(
    prefixes_of: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = editcore_warm.start()
    assert server is not None
    monkeypatch.setenv(WARM, server.path)
    process = command(*prefixes_of(LONG))
    job = job_of(server, process)
    server.close()
    assert ended(process)[0] == -signal.SIGKILL
    job.wait(10)
    assert not Path(server.path).parent.exists()


def test_a_path_that_is_too_long_means_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(editcore_warm.tempfile, "tempdir", str(long))
    assert editcore_warm.start() is None
    assert not [*long.iterdir()]


def test_nowhere_to_put_a_socket_means_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editcore_warm.tempfile, "tempdir", str(tmp_path / "absent"))
    assert editcore_warm.start() is None


def test_a_command_that_ends_together_with_its_job_leaves_the_server_running(
    warm: Warm, tmp_path: Path, prefixes_of: Arguments
) -> None:
    process = command(*prefixes_of(LONG))
    job, server = job_of(warm, process), psutil.Process(warm.process.pid)
    server.suspend()  # so that it is told of both ends at once
    job.kill()
    while job.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.resume()
    assert ended(command("prefixes", "--help"))[1].endswith("elsewhere: 0\n")
