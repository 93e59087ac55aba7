"""Files that exist whole or not at all, whatever kills the process that writes them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from editcore.errors import EditcoreError

if TYPE_CHECKING:
    import torch


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path` to write to; it becomes `path` only if the block ends well.

    Raises `EditcoreError` where the folder cannot be written or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise EditcoreError(
            f"{path} cannot be written ({error.strerror or error}); free space or choose another"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, tensors: "Mapping[str, torch.Tensor]", metadata: Mapping[str, str]
) -> None:
    """Write tensors as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    with replacing(path) as partial:
        save_file({k: t.contiguous() for k, t in tensors.items()}, partial, metadata=dict(metadata))
