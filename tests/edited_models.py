"""Edited copies of saved models, made without editcore: plain tensors in, plain tensors out."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]


def edited_copy(
    model: Path, folder: Path, edit: Callable[[Tensors], None], dtype: torch.dtype | None = None
) -> Path:
    """A copy of a model's folder whose tensors an `edit` replaced; by default of their dtype."""
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    stored = {k: t.to(dtype or t.dtype).contiguous() for k, t in tensors.items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers from a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def added(names: list[str], rank: int | None, size: float) -> Callable[[Tensors], None]:
    """An edit that adds to each weight a random change of a rank, or of full rank if None.

    `size` is the change's norm relative to the weight's.
    """

    def edit(tensors: Tensors) -> None:
        for seed, name in enumerate(names):
            shape = tensors[name].shape
            change = drawn(*shape, seed=seed)
            if rank is not None:
                rows, columns = shape
                change = drawn(rows, rank, seed=seed) @ drawn(rank, columns, seed=seed + 100)
            tensors[name] = tensors[name] + size * change * tensors[name].norm() / change.norm()

    return edit
