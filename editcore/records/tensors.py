"""Reads safetensors files written by this project, which may have been damaged since."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from editcore.errors import reading

if TYPE_CHECKING:
    import torch


class TensorFile:
    """An open file: its tensors by name, and its metadata."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self.names: tuple[str, ...] = tuple(opened.keys())
        self.about: Mapping[str, str] = opened.metadata() or {}

    def __getitem__(self, name: str) -> "torch.Tensor":
        if name not in self.names:
            raise KeyError(name)
        tensor: torch.Tensor = self._opened.get_tensor(name)
        return tensor

    def all(self) -> "dict[str, torch.Tensor]":
        """Every tensor."""
        return {name: self[name] for name in self.names}


@contextmanager
def opened(
    path: Path,
    holds: str,
    remedy: str = "delete it and run again",
    device: "str | torch.device" = "cpu",
) -> Iterator[TensorFile]:
    """A block that reads a file's tensors and metadata, and does nothing else.

    Anything wrong with the file or its content becomes one `DataError`, as in `reading`.
    """
    with reading(path, holds, remedy):
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                yield TensorFile(file)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
