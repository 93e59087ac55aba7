"""Provenance of results: what is written into each file, and how to read it."""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.datasets.bundled import model_folder
from editcore.errors import DataError
from editcore.planning import preflight
from editcore.records.stored_precision import stored_precision
from editcore.registry.registry import code_hash
from editcore.sources.cache import sha256_of
from editcore.sources.places import gguf_file
from editcore.sources.safetensors_header import read_header

if TYPE_CHECKING:
    from editcore.planning.jobs import Job, ModelSpec

MADE_WITH = ("editcore", "torch", "transformers", "tokenizers", "numpy", "polars", "pyarrow")
# Files are hashed in blocks of this size, by this many threads.
BLOCK_BYTES = 2**24
HASHERS = 8


def versions() -> dict[str, str]:
    """Python's version and those of the packages that numbers depend on."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in MADE_WITH
    }


def of_job(job: "Job", **more: Any) -> dict[str, Any]:
    """The provenance of every file that a job makes; the same on every machine.

    `job` is the whole job: model, dtype, device, seed, `trust_remote_code`, the editor's options,
    distribution and source hash. `config` is its hash, `code` that of editcore's own sources,
    `revision` the version of the model that was loaded, and `stored_as` its precision on disk.
    """
    known = {
        "job": job.model_dump(mode="json"),
        "config": hashlib.sha256(job.as_json().encode()).hexdigest()[:12],
        "code": code_hash("editcore"),
        "versions": versions(),
    }
    model: ModelSpec | None = getattr(job, "model", None)
    if model is None:
        return known | more
    read = {
        "revision": model_revision(model),
        "stored_as": stored_precision(model.source, model.revision),
    }
    return known | read | more


def as_metadata(record: dict[str, Any]) -> dict[str, str]:
    """The same for a file of tensors, whose metadata must be strings."""
    return {name: json.dumps(value, sort_keys=True) for name, value in record.items()}


def model_revision(spec: "ModelSpec") -> str | None:
    """The commit of a hub id, or a hash of the model's files; None if neither is on this machine.

    A GGUF file's is the beginning of its SHA-256. Of a folder, the whole content of all files is
    hashed, so a model edited in place has another revision. A gigabyte takes 0.8 s of one processor
    core, and all cores share the work.
    """
    if (file := gguf_file(spec.source)) is not None:
        return sha256_of(file)[:12]
    if model_folder(spec.source) is not None:
        digest = hashlib.sha256()
        for file in preflight.model_files(spec.source):
            digest.update(f"{file.name} {_content(file)} ".encode())
        return digest.hexdigest()[:12]
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(spec.source, preflight.CONFIG_FILE, revision=spec.revision)
    # The cache keeps a file as snapshots/<commit>/<name>.
    return Path(cached).parent.name if isinstance(cached, str) else None


def stamps(files: Iterable[Path | str]) -> list[tuple[str, int, int]]:
    """Name, size in bytes and modification time (ns) of each file: a change shows in these."""
    found = [(str(file), Path(file).stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]


def _content(path: Path) -> str:
    """SHA-256 of the SHA-256 of each block of a file; several processors hash at a time."""
    with ThreadPoolExecutor(HASHERS) as pool:
        digests = pool.map(partial(_block, path), range(0, path.stat().st_size, BLOCK_BYTES))
        return hashlib.sha256(b"".join(digests)).hexdigest()


def _block(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(BLOCK_BYTES)).digest()


def read(path: Path) -> dict[str, Any]:
    """The provenance that editcore wrote into a Parquet or safetensors file.

    Raises `DataError` if the file is missing, of another kind, or without provenance.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a table or tensors that editcore wrote")
    if path.suffix == ".safetensors":
        return _of_tensors(path)
    if path.suffix == ".parquet":
        from editcore.records.tables import read_provenance

        return read_provenance(path)
    raise DataError(f"{path}: only .parquet and .safetensors files have provenance; give one")


def _of_tensors(path: Path) -> dict[str, Any]:
    metadata = read_header(path).metadata
    if not metadata:
        raise DataError(f"{path} has no provenance; give a file that editcore wrote")
    return {key: _decoded(value) for key, value in metadata.items()}


def _decoded(value: str) -> Any:
    """A metadata string, decoded if it is JSON."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(value)
    return value


def made_by() -> dict[str, str]:
    """The versions of the packages that make tables from other tables."""
    return {name: importlib.metadata.version(name) for name in ("editcore", "polars")}


def origins(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The provenance of several shards as one: each model, editor and data set once."""
    jobs = [job for source in sources if isinstance(job := source.get("job"), Mapping)]
    artefacts = [files for s in sources if isinstance(files := s.get("artefacts"), Mapping)]
    # Each shard has its own job and its hash.
    own = ("job", "config", "artefacts")
    rest = [{k: v for k, v in s.items() if k not in own} for s in sources]
    parts = (("models", "model", "name"), ("editors", "editor", "label"))
    return {
        "edits": merged(rest),
        "artefacts": merged(artefacts),
        **{
            plural: {
                label: merged(job[part] for job in jobs if _label(job, part, name) == label)
                for label in sorted({_label(job, part, name) for job in jobs} - {""})
            }
            for plural, part, name in (*parts, ("datasets", "dataset", "name"))
        },
    }


def _label(job: Mapping[str, Any], part: str, name: str) -> str:
    """The label of a job's model, editor or data set; empty if it has none."""
    there = job.get(part)
    label = there.get(name) if isinstance(there, Mapping) else None
    return label if isinstance(label, str) else ""


def merged(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One mapping from many: the value if all agree, otherwise the sorted distinct values.

    >>> merged([{"torch": "2.13", "seed": 0}, {"torch": "2.12", "seed": 0}])
    {'seed': 0, 'torch': ['2.12', '2.13']}
    """
    seen: dict[str, dict[str, Any]] = {}
    for source in sources:
        for name, value in source.items():
            seen.setdefault(name, {})[json.dumps(value, sort_keys=True)] = value
    return {name: _agreed(values) for name, values in sorted(seen.items())}


def _agreed(values: Mapping[str, Any]) -> Any:
    if len(values) == 1:
        return next(iter(values.values()))
    if all(isinstance(value, Mapping) for value in values.values()):
        return merged(values.values())
    return [values[key] for key in sorted(values)]
