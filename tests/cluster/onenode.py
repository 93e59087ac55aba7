"""A whole SLURM on this one machine: munge, controller and node, in a folder of its own.

Nothing of it is shared with a SLURM that the machine may have: keys, sockets, ports and state lie
in the folder, and `SLURM_CONF` points there. Needs root, and the packages slurm-wlm and munge.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
ADMIN_PATH = "/usr/sbin:/sbin"
SECONDS = 30
# A counted `gpu` needs character devices, and SLURM only locks them; nothing opens these.
STAND_INS = ("/dev/null", "/dev/zero")

CONFIG = """\
ClusterName=onenode
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2
EnforcePartLimits=ALL
ReturnToService=2
MinJobAge=3600
KillWait=2
DefMemPerCPU=100
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Unable(Exception):
    """Why no SLURM can run here."""


def install() -> None:
    """Install SLURM where it is missing; `Unable` where that cannot be done."""
    if os.geteuid() != 0:
        raise Unable("starting SLURM's daemons needs root")
    if all(_program(name) for name in PROGRAMS):
        return
    if shutil.which("apt-get") is None:
        raise Unable(f"{', '.join(PACKAGES)} are not installed, and there is no apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-yqq", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode or not all(_program(name) for name in PROGRAMS):
        raise Unable(f"apt-get could not install {', '.join(PACKAGES)}: {done.stderr[-500:]}")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{ADMIN_PATH}")


@dataclass
class OneNode:
    """The running cluster; its node says that it has 16 processors, 256 GB and 2 GPUs."""

    folder: Path
    _daemons: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use this cluster and no other."""
        outside = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        path = f"{self.folder}:{outside.get('PATH', os.defpath)}"
        return outside | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start the daemons; `Unable` with their own words where they do not come up."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self._write_config()
        key, socket_file = self.folder / "munge.key", self.folder / "munge.socket"
        key.write_bytes(os.urandom(256))
        key.chmod(0o600)
        files = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("pid", "log", "seed")]
        self._start("munged", "--force", f"--key-file={key}", f"--socket={socket_file}", *files)
        self._wait(socket_file.exists, "munged")
        self._start("slurmctld", "-D")
        self._wait(lambda: "UP" in self.run("scontrol", "ping"), "slurmctld")
        self._start("slurmd", "-D")
        self._wait(lambda: self.run("sinfo", "-h", "-o", "%T").startswith("idle"), "slurmd")

    def stop(self) -> None:
        """End all jobs and daemons, the last started first."""
        self.run("scancel", "--signal=KILL", "--full", "--user=root")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def run(self, program: str, *arguments: str) -> str:
        """What one of SLURM's programs prints."""
        done = subprocess.run(
            [_program(program) or program, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def jobs(self, state: str) -> dict[str, str]:
        """The jobs in a state, such as RUNNING: the plugin's comment, with the rule, by id."""
        lines = self.run("squeue", "-h", "-t", state, "-o", "%i|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def _write_config(self) -> None:
        config = CONFIG.format(
            host=socket.gethostname().partition(".")[0],
            folder=self.folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            gpus=len(STAND_INS),
        )
        devices = "".join(f"Name=gpu File={device}\n" for device in STAND_INS)
        (self.folder / "slurm.conf").write_text(config)
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\n{devices}")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        # Snakemake's plugin takes SLURM_CONF out of the environment in which it calls srun.
        srun = self.folder / "srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_program("srun")} "$@"\n'
        )
        srun.chmod(0o755)

    def _start(self, program: str, *arguments: str) -> None:
        path = _program(program)
        assert path is not None
        foreground = ["--foreground"] if program == "munged" else []
        with (self.folder / f"{program}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    [path, *foreground, *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not ready():
            if time.monotonic() > deadline:
                logs = "".join(f.read_text()[-800:] for f in sorted(self.folder.glob(f"{what}.*")))
                raise Unable(f"{what} did not come up: {logs}")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
