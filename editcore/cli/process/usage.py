"""What a command used: a JSON file with its seconds, its processor time and its memory."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import editcore_start
from editcore.atomic import write_text


@contextmanager
def recorded(path: Path | None) -> Iterator[None]:
    """After the work, write what this process used since its start; nothing without a path."""
    yield
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(_used()) + "\n")


def _used() -> dict[str, float]:
    import torch  # the work has loaded it

    from editcore.models.memory import peak_bytes

    used = {
        "seconds": time.monotonic() - editcore_start.started,
        "cpu_seconds": time.process_time(),
    }
    if peak := peak_bytes(torch.device("cpu")):
        used["peak_memory_mb"] = peak / 1e6
    return {name: round(value, 2) for name, value in used.items()}
