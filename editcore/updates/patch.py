"""Edits that change no weights, but what passes between them."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import nn

from editcore.models.architectures import ModelParts
from editcore.updates.change import Change


class Patch(Change):
    """An edit as hooks, such as a codebook at one layer or demonstrations before the prompt.

    In a sequence, a patch contains all edits so far: the next edit is made on the model without it,
    from the `state` of the last result, and its patch replaces the one before.
    """

    first_layer: int | None
    """The first block whose output may differ; None for a patch that begins before all blocks.

    Measurements reuse the unedited model's states before it, so a number that is too high gives
    wrong results. None is always right.
    """

    @abstractmethod
    def applied(self, model: nn.Module) -> AbstractContextManager[None]:
        """A block in which the patch is in place.

        All its hooks are removed at the end, after an exception too. Batches are padded on the
        right, and a forward pass may hold several prompts. Outside the block the model must be
        exactly what it was: the weights, the hooks, the modules' methods.
        """

    def norm(self) -> None:
        """None: no weight changes."""

    def size(self) -> None:
        """None: only the editor's state is known."""

    def places(self, parts: ModelParts) -> Mapping[str, int | None]:
        """The hidden states from the first block on; `ModelError` if there is no such block."""
        if self.first_layer is not None:
            parts.block(self.first_layer)
        return {"the hidden states": self.first_layer}

    def check(self, model: nn.Module) -> None:
        """Nothing to check; patches that can tell whether they fit a model override this."""
