"""Which graphics processor a job takes on a machine that several jobs share.

A lease is an advisory lock (flock) on a file for each device. The kernel frees it when its process
ends, however that ends.
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
# Set beside VISIBLE, so that a leased process and its children lease no second one.
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
    """Take a device that no other job has, wait for one if need be, and make it the visible one.

    It is kept until the process ends. Only `cuda` leases: `cuda:1` is somebody's own choice. Under
    SLURM, which hands out devices itself, and where no device is seen, nothing happens (None).
    Call it before CUDA starts, since CUDA reads the environment once.
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
    """The devices that CUDA would see: by number or name; it reads no further than a -1."""
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
            log.warning("all graphics processors (%s) are taken; waiting", ", ".join(candidates))
            told = True
        time.sleep(POLL_SECONDS)


def _locked(file: Path) -> bool:
    """Lock a file for the life of this process: its descriptor is never closed."""
    flags = os.O_RDONLY | os.O_NOFOLLOW
    try:
        descriptor = os.open(file, flags)
    except FileNotFoundError:
        descriptor = os.open(file, flags | os.O_CREAT, 0o644)
    if not (held := lock_descriptor(descriptor, blocking=False)):
        os.close(descriptor)
    return held


def _shared(folder: Path) -> Path:
    """A folder in which every user of the machine may lock and add files, and none delete."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return folder
