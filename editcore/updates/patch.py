"""Edits that change no weights: a patch answers in the model's place where it applies."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import nn

from editcore.models.architectures import ModelParts
from editcore.updates.change import Change


class Patch(Change):
    """An edit as hooks, such as a codebook at one layer or demonstrations before the prompt.

    A patch is the whole of what its editor has done so far: in a sequence, the next edit is made on
    the model without it, from the `state` handed on, and the newest patch stands for all.
    """

    first_layer: int | None
    """The first block whose output may differ; None for a patch that begins before all blocks.

    Measurements resume from the unedited model right before it, so a number too high gives wrong
    rows. None is always right.
    """

    @abstractmethod
    def applied(self, model: nn.Module) -> AbstractContextManager[None]:
        """A block in which the patch is in place.

        Its hooks come in, and all go out again, after an exception too. Batches are padded on the
        right, and a forward pass may hold several prompts. Outside the block the model must be
        exactly what it was: the weights, the hooks, the modules' methods.
        """

    def norm(self) -> None:
        """None: no weight changes."""

    def places(self, parts: ModelParts) -> Mapping[str, int | None]:
        """The first block alone; `ModelError` for one that the model does not have."""
        if self.first_layer is not None:
            parts.block(self.first_layer)
        return {"the hidden states": self.first_layer}

    def check(self, model: nn.Module) -> None:
        """Nothing to check; patches that can tell whether they fit a model override this."""
