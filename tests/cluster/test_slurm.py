"""The workflow on a real SLURM: jobs cancelled, Snakemake killed, and the tables of a local run."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from editcore.testing.models import save_tiny_model
from tests.cluster.onenode import OneNode, Unable, install
from tests.rows import CLOCKS
from tests.studies import study_config, write_config, write_data
from tests.workflow.conftest import ROOT, StudyFolder

PROFILE = ROOT / "workflow" / "profiles" / "slurm"
# What .ci/run sets, so that a machine which ought to run this cannot pass by skipping it.
REQUIRED = "EDITCORE_NEEDS_SLURM"
# Jobs here are short, so look at their state sooner than on a real cluster.
SOON = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
DEADLINE_SECONDS = 400
TABLES = ("cases", "verdicts")
TARGETS = [f"results/summary/{name}.parquet" for name in TABLES]
OPTIONS = {"layer": 1, "steps": 3, "second_moment": False}
EDITORS = {name: {"options": OPTIONS} for name in ("rome", "c-rome")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    node = OneNode(tmp_path_factory.mktemp("slurm"))
    try:
        install()
        node.start()
    except Unable as error:
        node.stop()
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"no SLURM can run here: {error}")
    yield node
    node.stop()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """One model, two editors that share prefixes and values, one shard each."""
    folder = StudyFolder(tmp_path_factory.mktemp("study"))
    save_tiny_model("gpt2", folder.path / "models" / "gpt2")
    write_data(folder.path)
    models = {"gpt2": {"source": "models/gpt2"}}
    config = study_config(models=models, editors=EDITORS, shard_size=4)
    write_config(folder.path / "study.yaml", config)
    return folder


class Submitted:
    """Snakemake at work on a cluster, in a session of its own."""

    def __init__(self, folder: StudyFolder, cluster: OneNode, *arguments: str) -> None:
        self.log = folder.path / f"snakemake-{time.monotonic_ns()}.log"
        command = folder.command("--workflow-profile", str(PROFILE), *SOON, *arguments)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder.path,
                env=cluster.environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until(self, met: Callable[[], object]) -> None:
        """Wait for something to happen while the run continues."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not met():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """End Snakemake and all that it started here; its jobs continue in the cluster."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> str:
        """Wait for the end, and give what was said; whatever failed was repaired."""
        status = self.process.wait(DEADLINE_SECONDS)
        said = self.log.read_text()
        assert status == 0, said
        return said


def of_rule(jobs: dict[str, str], rule: str) -> list[str]:
    """The ids of a rule's jobs."""
    return [job for job, comment in jobs.items() if f"rule_{rule}" in comment]


def table(folder: StudyFolder, name: str) -> pl.DataFrame:
    frame = pl.read_parquet(folder.path / "results" / "summary" / f"{name}.parquet")
    return frame.drop(CLOCKS, strict=False)


def test_cancelled_jobs_and_a_killed_snakemake_change_no_table(
    cluster: OneNode, study: StudyFolder, tmp_path: Path
) -> None:
    status, output = study.copy(tmp_path / "local").snakemake(*TARGETS)
    assert status == 0, output
    folder = study.copy(tmp_path / "cluster")

    run = Submitted(folder, cluster, *TARGETS)
    run.wait_until(lambda: of_rule(cluster.jobs("RUNNING"), "prefixes"))
    (cancelled,) = cluster.jobs("RUNNING")
    cluster.run("scancel", cancelled)
    run.wait_until(lambda: len(of_rule(cluster.jobs("all"), "prefixes")) == 2)
    assert cancelled in cluster.jobs("CANCELLED")

    run.wait_until(lambda: len(of_rule(cluster.jobs("RUNNING"), "edit")) == 2)
    left_alone = of_rule(cluster.jobs("RUNNING"), "edit")
    cluster.run("scontrol", "suspend", ",".join(left_alone))  # they end after they are doubled
    run.kill()
    suspended = of_rule(cluster.jobs("SUSPENDED"), "edit")
    assert sorted(suspended) == sorted(left_alone), "the jobs outlive Snakemake"
    status, output = folder.snakemake("--unlock")
    assert status == 0, output
    again = Submitted(folder, cluster, *TARGETS)
    again.wait_until(lambda: len(of_rule(cluster.jobs("all"), "edit")) >= 4)
    cluster.run("scontrol", "resume", ",".join(left_alone))
    said = again.finish()

    doubled = set(of_rule(cluster.jobs("all"), "edit")) - set(left_alone)
    assert doubled == set(re.findall(r"SLURM jobid (\d+) .*/rule_edit/", said))
    # Where one of a pair clears away what the other has just written, Snakemake tries that one
    # again.
    assert len(doubled) == 2 + said.count("Trying to restart job")
    for name in TABLES:
        local = StudyFolder(tmp_path / "local")
        assert_frame_equal(table(folder, name), table(local, name))
    status, output = folder.snakemake(*TARGETS)
    assert "Nothing to be done" in output, output


def test_a_model_on_a_graphics_processor_gets_one_of_the_node_s(
    cluster: OneNode, study: StudyFolder, tmp_path: Path
) -> None:
    folder = study.copy(tmp_path)
    models = {"gpt2": {"source": "models/gpt2", "device": "cuda"}}
    write_config(folder.path / "study.yaml", study_config(models=models, editors=EDITORS))
    target = "results/artefacts/model=gpt2/prefixes.json"
    run = Submitted(folder, cluster, target, "--retries", "0")
    run.wait_until(lambda: cluster.jobs("RUNNING"))
    (job,) = cluster.jobs("RUNNING")
    described = cluster.run("scontrol", "show", "--details", "job", job)
    run.kill()
    cluster.run("scancel", job)
    assert "TresPerJob=gres:gpu:1" in described, described
    assert re.search(r"GRES=gpu:1\(IDX:[01]\)", described), "one of the node's two is its own"
