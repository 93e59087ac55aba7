"""Where a study keeps its files; folders are hive partitions, `key=value`."""

from pathlib import Path

RESULTS = Path("results")
STUDY_FILE = RESULTS / "jobs" / "study.json"


def prefixes_job(model: str) -> Path:
    """The job that writes a model's context prefixes."""
    return RESULTS / "jobs" / "prefixes" / f"model={model}.json"


def prefixes(model: str) -> Path:
    """A model's context prefixes."""
    return RESULTS / "artefacts" / f"model={model}" / "prefixes.json"


def moments_job(model: str, layer: int | str) -> Path:
    """The job that estimates the second moment of one layer."""
    return RESULTS / "jobs" / "moments" / f"model={model}" / f"layer-{layer}.json"


def moments(model: str, layer: int | str) -> Path:
    """The second moment of one layer's keys."""
    return RESULTS / "artefacts" / f"model={model}" / "moments" / f"layer-{layer}.safetensors"


def edits_job(model: str, editor: str, dataset: str, shard: str) -> Path:
    """The job of one shard."""
    return _shard("jobs/edits", model, editor, dataset, shard, ".json")


def edits(model: str, editor: str, dataset: str, shard: str) -> Path:
    """The rows of one shard."""
    return _shard("edits", model, editor, dataset, shard, ".parquet")


def deltas(model: str, editor: str, dataset: str, shard: str) -> Path:
    """The weight changes of one shard."""
    return _shard("deltas", model, editor, dataset, shard, ".safetensors")


def _shard(kind: str, model: str, editor: str, dataset: str, shard: str, suffix: str) -> Path:
    folder = RESULTS / kind / f"model={model}" / f"editor={editor}" / f"dataset={dataset}"
    return folder / f"shard-{shard}{suffix}"
