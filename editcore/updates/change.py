"""What every edit is once it is made: a change of a model that is in place for a while."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import nn

from editcore.models.architectures import ModelParts


class Change(ABC):
    """A change of weights (`Delta`), or of what passes between them (`Patch`)."""

    @abstractmethod
    def applied(self, model: nn.Module) -> AbstractContextManager[None]:
        """A block in which the model is the edited one; after it, bit by bit what it was."""

    @abstractmethod
    def finite(self) -> bool:
        """Whether every number in it is finite."""

    @abstractmethod
    def norm(self) -> float | None:
        """The Frobenius norm of the change of weights; None where no weight changes."""

    @abstractmethod
    def places(self, parts: ModelParts) -> Mapping[str, int | None]:
        """What it changes, by name, and the block that this belongs to; None for outside of all."""

    @abstractmethod
    def check(self, model: nn.Module) -> None:
        """Raise `PluginError` where it does not fit the model."""

    def first_block(self, parts: ModelParts) -> int:
        """The first block whose output it can alter."""
        return min((block or 0 for block in self.places(parts).values()), default=0)
