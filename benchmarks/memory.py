"""The peak memory of a shard by the number of its cases, each number in a process of its own."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.race.race import side
from benchmarks.race.worker import Spec


def peaks(spec: Spec, sizes: Sequence[int]) -> dict[str, float]:
    """The peak memory, in MB, of a process that loads a model, edits and measures the cases."""
    found = {}
    for size in tqdm(sizes, desc="memory", unit="shard"):
        with (
            tempfile.TemporaryDirectory() as folder,
            side(spec, Path(folder) / "editcore") as editcore,
        ):
            found[str(size)] = max(editcore.memory, editcore.sweep(0, size)["memory"])
    return found
