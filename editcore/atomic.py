"""Files that exist whole or not at all, whatever kills the process that writes them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from editcore.errors import EditcoreError

if TYPE_CHECKING:
    import torch


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a hidden path beside `path` to write to; it becomes `path` only if the block ends well.

    A durable file is on the disk before it gets its name, so that no loss of power makes it empty.
    Raises `EditcoreError` where the folder cannot be written or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
    except OSError as error:
        raise EditcoreError(
            f"{path} cannot be written ({error.strerror or error}); free space or choose another"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; thousands of job files must not wait for the disk."""
    with replacing(path, durable=False) as partial:
        partial.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, tensors: "Mapping[str, torch.Tensor]", metadata: Mapping[str, str]
) -> None:
    """Write tensors as safetensors, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as partial:
        try:
            whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(whole, partial, metadata=dict(metadata))
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(str(error)) from error
