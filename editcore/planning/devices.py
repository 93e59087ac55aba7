"""Whether this machine has the device that a study asks for, found without importing torch."""

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editcore.planning.jobs import ModelSpec

# Device files of graphics drivers: NVIDIA, AMD, WSL and Jetson.
NODES = ("nvidia[0-9]*", "kfd", "dxg", "nvhost-gpu")
NO_CUDA = r"(?m)^cuda\b.*= None$"
NO_ROCM = r"(?m)^hip\b.*= None$"


def missing(models: Iterable["ModelSpec"]) -> Iterator[tuple[str, str]]:
    """The models whose device is not on this machine: the study's key, and what is missing.

    Cluster jobs run on other machines, so this is a note, not an error; a job that finds no device
    fails with an error of its own.
    """
    for model in models:
        if reason := absent(model.device):
            yield f"models.{model.name}.device", f"{model.device} is not available here: {reason}"


def absent(
    device: str, environment: Mapping[str, str] | None = None, devices: Path = Path("/dev")
) -> str:
    """Why a device is missing on this machine; empty if it may be here."""
    environment = os.environ if environment is None else environment
    if device == "mps":
        return "" if sys.platform == "darwin" else "only Apple's machines have it"
    if not device.startswith("cuda"):
        return ""
    if torch_lacks_cuda():
        return "the installed torch is built without CUDA"
    if environment.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every device"
    if sys.platform == "linux" and not any(list(devices.glob(node)) for node in NODES):
        return "no graphics processor is seen"
    return ""


def torch_lacks_cuda() -> bool:
    """Whether the installed torch, if any, is built without support for graphics cards."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py")
    text = version.read_text(encoding="utf-8") if version.is_file() else ""
    return bool(re.search(NO_CUDA, text) and re.search(NO_ROCM, text))
