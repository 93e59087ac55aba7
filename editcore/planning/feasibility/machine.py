"""What this machine has: processors, free memory and free disk."""

import os
import shutil
from pathlib import Path

MEMORY = Path("/proc/meminfo")
# The limit of a container, in the two versions of control groups.
LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def processors() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(file: Path = MEMORY, limits: tuple[Path, ...] = LIMITS) -> int | None:
    """Bytes that programs can still take, or the limit of a container; None if not known."""
    found = [int(text) for limit in limits if (text := _text(limit).strip()).isdigit()]
    for line in _text(file).splitlines():
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    return min(found, default=None)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
