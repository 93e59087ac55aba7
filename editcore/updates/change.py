"""An edit as a value: a change of a model that can be put in place and taken out again."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import nn

from editcore.models.architectures import ModelParts


class Change(ABC):
    """A change of weights (`Delta`), or of what passes between them (`Patch`)."""

    @abstractmethod
    def applied(self, model: nn.Module) -> AbstractContextManager[None]:
        """A block in which the change is in place; afterwards the model is bit by bit as before."""

    @abstractmethod
    def finite(self) -> bool:
        """Whether every number in it is finite."""

    @abstractmethod
    def norm(self) -> float | None:
        """The Frobenius norm of the change of weights; None if no weight changes."""

    @abstractmethod
    def size(self) -> int | None:
        """The bytes of its numbers; None if they are not known."""

    @abstractmethod
    def places(self, parts: ModelParts) -> Mapping[str, int | None]:
        """What it changes, by name, each with its layer; None for what is outside all blocks."""

    @abstractmethod
    def check(self, model: nn.Module) -> None:
        """Raise `PluginError` if it does not fit the model."""

    def first_block(self, parts: ModelParts) -> int:
        """The first block whose output it can alter."""
        return min((block or 0 for block in self.places(parts).values()), default=0)
