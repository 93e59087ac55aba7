"""A weight change put into the files of a saved model, and taken out of them byte by byte.

Only the bytes of the changed tensors are replaced; headers and all other tensors stay. The old
bytes are kept beside the model, so that taking the change out restores the old files.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from editcore.atomic import replacing, write_tensors
from editcore.errors import DataError, ModelError
from editcore.models.architectures import stores_transposed
from editcore.planning import preflight
from editcore.records.provenance import versions
from editcore.records.safetensors_header import read_header
from editcore.updates.delta import Delta

KEPT = "editcore-applied"


@dataclass(frozen=True)
class Place:
    """Where a tensor is: its file, its first byte and its number of bytes."""

    file: Path
    start: int
    size: int

    def read(self) -> bytes:
        """The tensor's bytes."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


def apply(delta: Delta, folder: Path, about: Mapping[str, Any]) -> Path:
    """Add a delta to the weights in a model's folder; returns the file that keeps the old ones.

    Raises `ModelError` where the folder is no model or stores a changed tensor under no known name,
    `PluginError` where a shape does not fit. Each file appears whole or not at all, and the old
    weights are on disk before the first of them changes.
    """
    model = _skeleton(folder)
    delta.check(model)
    places = _places(folder)
    changed: dict[str, torch.Tensor] = {}
    originals: dict[str, torch.Tensor] = {}
    for name, update in delta.updates.items():
        key = _key(model, name, places, folder)
        original = _tensor(places[key].file, key)
        change = update.dense()
        stored = change.T if stores_transposed(model, name) else change
        originals[key] = original
        # As `Delta.applied` adds it, so that the files hold the weights that were measured.
        changed[key] = original + stored.cpu().to(original.dtype)
    kept = folder / KEPT / f"{len(applied(folder)) + 1:04d}.safetensors"
    written = {key: _digest(_bytes(tensor)) for key, tensor in changed.items()}
    record = {"written": json.dumps(written), "versions": json.dumps(versions())}
    write_tensors(kept, originals, {**{k: json.dumps(v) for k, v in about.items()}, **record})
    _write({places[key]: _bytes(tensor) for key, tensor in changed.items()})
    return kept


def revert(folder: Path) -> Path:
    """Take the newest change out of a model's folder; returns the file that had kept the weights.

    Raises `ModelError` where nothing was applied, `DataError` where the weights are no longer what
    was written: then nothing is touched.
    """
    if not (records := applied(folder)):
        raise ModelError(f"{folder}: nothing was applied here by editcore, so nothing is reverted")
    kept, places = records[-1], _places(folder)
    with safe_open(kept, framework="pt") as file:
        written = json.loads(file.metadata()["written"])
        originals = {key: _bytes(file.get_tensor(key)) for key in written}
    for key, digest in written.items():
        if key not in places or _digest(places[key].read()) not in (
            digest,
            _digest(originals[key]),
        ):
            raise DataError(
                f"{folder}: {key} is no longer what was written there; put the weights back that "
                f"editcore wrote, or take the old ones out of {kept} by hand"
            )
    _write({places[key]: content for key, content in originals.items()})
    kept.unlink()
    if not any(kept.parent.iterdir()):
        kept.parent.rmdir()
    return kept


def applied(folder: Path) -> list[Path]:
    """The files that keep old weights, in the order in which changes were applied."""
    return sorted((folder / KEPT).glob("*.safetensors"))


def copied(source: Path, target: Path) -> None:
    """Copy a model's folder, links followed; `ModelError` if something is there already."""
    if target.exists():
        raise ModelError(f"{target} exists already; name a folder that does not, or remove it")
    shutil.copytree(source, target)


def _skeleton(folder: Path) -> nn.Module:
    """The model without numbers, which is enough to know shapes and orientations."""
    preflight.model_files(str(folder))
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    return model


def _places(folder: Path) -> dict[str, Place]:
    """Where every tensor of a model's folder is, by its name in the files."""
    return {
        name: Place(file, start, size)
        for file in sorted(folder.glob("*.safetensors"))
        for name, (start, size) in read_header(file).places.items()
    }


def _key(model: nn.Module, name: str, places: Mapping[str, Place], folder: Path) -> str:
    """The name of a parameter in the files: some models are saved without their outermost part."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for key in (name, name.removeprefix(prefix), f"{prefix}{name}"):
        if key in places:
            return key
    raise ModelError(
        f"{folder} has no tensor {name} in its *.safetensors; save the model again with "
        "save_pretrained"
    )


def _tensor(file: Path, key: str) -> torch.Tensor:
    with safe_open(file, framework="pt") as opened:
        tensor: torch.Tensor = opened.get_tensor(key)
    return tensor


def _bytes(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(contents: Mapping[Place, bytes]) -> None:
    """Replace bytes, file by file, each whole or not at all."""
    for path in dict.fromkeys(place.file for place in contents):
        with replacing(path) as partial:
            shutil.copyfile(path, partial)
            with partial.open("r+b") as file:
                for place, content in contents.items():
                    if place.file == path:
                        assert len(content) == place.size
                        file.seek(place.start)
                        file.write(content)
