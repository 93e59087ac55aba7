"""Leases one GPU to each job on a machine that several jobs share.

A lease is an advisory lock (flock) on a file for each device. The kernel releases it when its
process ends, for whatever reason.
"""

import logging
import os
import re
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path

from filelock import lock_descriptor

VISIBLE = "CUDA_VISIBLE_DEVICES"
# Set along with VISIBLE, so that a process with a lease and its children do not lease a second GPU.
LEASED = "EDITCORE_LEASED_GPU"
UNDER_SLURM = "SLURM_JOB_ID"
POLL_SECONDS = 1.0

log = logging.getLogger(__name__)


def lease(
    device: str,
    environment: MutableMapping[str, str] | None = None,
    folder: Path | None = None,
    devices: Path = Path("/dev"),
) -> str | None:
    """Lease a GPU that no other job has, waiting if necessary, and make it the only visible one.

    Returns its number or name; the lease lasts until the process ends. Returns None, and does
    nothing, for any device but `cuda` (`cuda:1` is an explicit choice), under SLURM, which assigns
    devices itself, with a lease already held, and on a machine without a GPU. Call it before CUDA
    starts, because CUDA reads the environment only once.
    """
    environment = os.environ if environment is None else environment
    if device != "cuda" or UNDER_SLURM in environment or LEASED in environment:
        return None
    candidates = _visible(environment, devices)
    if not candidates:
        return None
    folder = Path(tempfile.gettempdir()) / "editcore-gpus" if folder is None else folder
    chosen = _wait_for(candidates, _shared(folder))
    environment.update({VISIBLE: chosen, LEASED: chosen})
    return chosen


def _visible(environment: MutableMapping[str, str], devices: Path) -> list[str]:
    """The devices that CUDA would see, by number or name; it ignores everything from a -1 on."""
    if (named := environment.get(VISIBLE)) is None:
        return [str(n) for n in range(len(list(devices.glob("nvidia[0-9]*"))))]
    names = [name.strip() for name in named.split(",") if name.strip()]
    return names[: names.index("-1")] if "-1" in names else names


def _wait_for(candidates: list[str], folder: Path) -> str:
    told = False
    while True:
        for name in candidates:
            if _locked(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock"):
                return name
        if not told:
            log.warning("all GPUs (%s) are in use; waiting", ", ".join(candidates))
            told = True
        time.sleep(POLL_SECONDS)


def _locked(file: Path) -> bool:
    """Try to lock a file until this process ends; its descriptor is never closed."""
    flags = os.O_RDONLY | os.O_NOFOLLOW
    try:
        descriptor = os.open(file, flags)
    except FileNotFoundError:
        descriptor = os.open(file, flags | os.O_CREAT, 0o644)
    if not (held := lock_descriptor(descriptor, blocking=False)):
        os.close(descriptor)
    return held


def _shared(folder: Path) -> Path:
    """A folder where every user may add and lock files, and delete only their own."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return folder
