"""Safetensors files written by this project, each with a digest that is checked on reading."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from editcore.atomic import write_tensors
from editcore.errors import reading
from editcore.records.digests import DIGEST, REMEDY, check_digest

if TYPE_CHECKING:
    import torch


class TensorFile:
    """An open file: its tensors by name, and its metadata."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        # A file of changes has tensors of every case, so looking for one must not search them all.
        self.names: Collection[str] = dict.fromkeys(opened.keys())
        self.about: Mapping[str, str] = opened.metadata() or {}

    def __getitem__(self, name: str) -> "torch.Tensor":
        if name not in self.names:
            raise KeyError(name)
        tensor: torch.Tensor = self._opened.get_tensor(name)
        return tensor

    def all(self) -> "dict[str, torch.Tensor]":
        """Every tensor."""
        return {name: self[name] for name in self.names}


def save_tensors(
    path: Path, tensors: "Mapping[str, torch.Tensor]", about: Mapping[str, str]
) -> None:
    """Write tensors and metadata with their digest, atomically."""
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(path, here, {**about, DIGEST: digest(here, about)})


@contextmanager
def opened(
    path: Path, holds: str, remedy: str = REMEDY, device: "str | torch.device" = "cpu"
) -> Iterator[TensorFile]:
    """A block that reads a file's tensors and metadata, and does nothing else.

    Anything wrong with the file or its content becomes one `DataError`, as in `reading`; so does a
    missing digest, or one that does not match.
    """
    with reading(path, holds, remedy):
        try:
            with safe_open(path, framework="pt") as file:
                _check(path, TensorFile(file), remedy)
            with safe_open(path, framework="pt", device=str(device)) as file:
                yield TensorFile(file)
        except SafetensorError as error:
            raise ValueError(str(error)) from error


def digest(tensors: "Mapping[str, torch.Tensor]", about: Mapping[str, str]) -> str:
    """SHA-256 of all names, dtypes, shapes, numbers and metadata except the digest itself.

    Tensors must be on the CPU. Their order, here and in a file, does not matter.
    """
    import torch

    known = {name: text for name, text in about.items() if name != DIGEST}
    found = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _check(path: Path, file: TensorFile, remedy: str) -> None:
    check_digest(path, file.about.get(DIGEST), digest(file.all(), file.about), remedy)
