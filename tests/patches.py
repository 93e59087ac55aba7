"""A patch for the tests: noise on the MLP of one block if its input has a positive mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from editcore.models.loading import LoadedModel
from editcore.updates.patch import Patch


@dataclass(frozen=True)
class Noise(Patch):
    """Adds `vector` to the output of the module `path`."""

    first_layer: int | None
    path: str
    vector: torch.Tensor

    @classmethod
    def at(cls, model: LoadedModel, layer: int, seed: int, size: float = 1.0) -> "Noise":
        """Noise on the MLP of the block at `layer`."""
        generator = torch.Generator().manual_seed(seed)
        vector = size * torch.randn(model.model.config.hidden_size, generator=generator)
        return cls(layer, model.anatomy.path(layer, model.anatomy.mlp), vector)

    def finite(self) -> bool:
        """Whether the vector is finite."""
        return bool(self.vector.isfinite().all())

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The hook is in the module inside the block."""

        def add(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            where = inputs[0].mean(-1, keepdim=True) > 0
            return output + where * self.vector.to(output)

        handle = model.get_submodule(self.path).register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()
