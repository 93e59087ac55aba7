"""The patch that adds the memory's output."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from editcore import PluginError
from editcore.toolkit import Patch
from editcore_memoir.memory import Memory


@dataclass(frozen=True)
class MemoryPatch(Patch):
    """A memory at the linear map `path`, with the number of active columns and the threshold."""

    first_layer: int | None
    path: str
    memory: Memory
    active: int
    threshold: float

    def finite(self) -> bool:
        """Whether every number in the memory is finite."""
        return self.memory.finite()

    def check(self, model: nn.Module) -> None:
        """Raise `PluginError` if the model has no such map."""
        try:
            model.get_submodule(self.path)
        except AttributeError as error:
            raise PluginError(
                f"the memory belongs to {self.path}, which the model does not have; use the model "
                "that it was made for"
            ) from error

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """A block in which `Memory.added` is added to the map's output."""

        def add(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            return output + self.memory.added(inputs[0], self.active, self.threshold).to(output)

        if not len(self.memory.masks):
            yield
            return
        with model.get_submodule(self.path).register_forward_hook(add):
            yield
