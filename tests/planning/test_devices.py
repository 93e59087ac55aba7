"""A missing device is reported while planning, and stops a job with one sentence."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from editcore.cli import main
from editcore.errors import ModelError
from editcore.models.loading import load_spec
from editcore.planning import devices
from editcore.planning.jobs import ModelSpec
from editcore.registry.registry import load_registry
from tests.studies import study_config, write_config


def test_a_build_of_torch_without_cuda_is_recognised_by_its_version_file() -> None:
    built_for_processors = torch.version.cuda is None and torch.version.hip is None
    assert devices.torch_lacks_cuda() == built_for_processors


@pytest.mark.parametrize(
    ("device", "visible", "nodes", "words"),
    [
        ("cpu", "all", [], ""),
        ("cuda", "all", ["nvidia0"], ""),
        ("cuda:1", "0,1", ["nvidia0", "nvidia1"], ""),
        ("cuda", "all", ["kfd"], ""),
        ("cuda", "all", ["nvidiactl"], "no graphics processor is seen"),
        ("cuda", "", ["nvidia0"], "CUDA_VISIBLE_DEVICES hides every device"),
        ("cuda", "-1", ["nvidia0"], "CUDA_VISIBLE_DEVICES hides every device"),
    ],
)
def test_what_is_seen_of_devices(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    visible: str,
    nodes: list[str],
    words: str,
) -> None:
    monkeypatch.setattr(devices, "torch_lacks_cuda", lambda: False)
    monkeypatch.setattr(devices.sys, "platform", "linux")
    for name in nodes:
        (tmp_path / name).touch()
    assert devices.absent(device, {"CUDA_VISIBLE_DEVICES": visible}, tmp_path) == words


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_job_without_its_device_stops_with_one_sentence(without_cuda: None, device: str) -> None:
    spec = ModelSpec(name="m", source="nowhere/at-all", device=device)
    with pytest.raises(ModelError, match=rf"'m' is to run on {device}, .*; set `device: cpu`"):
        load_spec(spec, load_registry())


def test_planning_reports_a_missing_device(without_cuda: None, study_folder: Path) -> None:
    config = study_config(
        models={"tiny": {"source": "model", "device": "cuda"}}, editors={"noop": {}}
    )
    write_config(study_folder / "study.yaml", config)
    missing = "models.tiny.device: cuda is not available here: "
    result = CliRunner().invoke(main, ["plan", "study.yaml", "--check"])
    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("No: ") and f"  problem: {missing}" in result.stdout
    result = CliRunner().invoke(main, ["plan", "study.yaml"])
    assert result.exit_code == 0, "jobs may run on another machine"
    assert missing in result.stderr
