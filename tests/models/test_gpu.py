"""Jobs on one machine lease different GPUs, and that of a dead job is free again."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from editcore.models.gpu import LEASED, VISIBLE, lease

HOLD = (
    "import sys, time; from pathlib import Path; from editcore.models.gpu import lease;"
    "print(lease('cuda', None, Path(sys.argv[1])), flush=True); time.sleep(600)"
)
OUTSIDE = {k: v for k, v in os.environ.items() if k not in ("SLURM_JOB_ID", LEASED, VISIBLE)}


class Holder:
    """A process that leases one of two devices and keeps it."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=OUTSIDE | {VISIBLE: "3,5"},
        )

    def device(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Holder]]:
    started: list[Holder] = []

    def one_more() -> Holder:
        started.append(Holder(tmp_path))
        return started[-1]

    yield one_more
    for holder in started:
        holder.kill()


def test_every_job_gets_its_own_device_and_that_of_a_dead_job_is_free_again(
    start: Callable[[], Holder],
) -> None:
    first, second = start(), start()
    devices = [first.device(), second.device()]
    assert sorted(devices) == ["3", "5"]
    waiting = start()
    assert select.select([waiting.process.stdout], [], [], 2)[0] == []
    second.kill()
    assert waiting.device() == devices[1]


def environment(**changes: str) -> dict[str, str]:
    return {VISIBLE: "0,1", **changes}


def test_the_leased_device_becomes_the_visible_one_and_is_leased_once(tmp_path: Path) -> None:
    own = environment()
    assert lease("cuda", own, tmp_path) == "0"
    assert own[VISIBLE] == own[LEASED] == "0"
    assert lease("cuda", own, tmp_path) is None
    assert lease("cuda", environment(), tmp_path) == "1"


@pytest.mark.parametrize(
    ("device", "variables"),
    [
        ("cpu", environment()),
        ("cuda:1", environment()),
        ("cuda", environment(SLURM_JOB_ID="7")),
        ("cuda", {VISIBLE: ""}),
        ("cuda", {VISIBLE: "-1,0"}),
        ("cuda", {}),
    ],
)
def test_nothing_is_leased_if_there_is_no_choice(
    tmp_path: Path, device: str, variables: dict[str, str]
) -> None:
    before = dict(variables)
    assert lease(device, variables, tmp_path, devices=tmp_path) is None
    assert variables == before


def test_all_devices_are_candidates_if_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia2", "nvidia7", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    found = [lease("cuda", {}, tmp_path / "locks", tmp_path / "dev") for _ in range(2)]
    assert found == ["0", "1"], "CUDA numbers the devices that it sees from 0"
