"""The patch that answers from a codebook."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from editcore import PluginError
from editcore.toolkit import Patch
from editcore_grace.codebook import Codebook


@dataclass(frozen=True)
class CodebookPatch(Patch):
    """A codebook at the linear map `path`."""

    first_layer: int | None
    path: str
    codebook: Codebook

    def finite(self) -> bool:
        """Whether all its keys, values and radii are finite."""
        book = self.codebook
        return all(bool(part.isfinite().all()) for part in (book.keys, book.values, book.radii))

    def check(self, model: nn.Module) -> None:
        """Raise `PluginError` if the model has no such map."""
        try:
            model.get_submodule(self.path)
        except AttributeError as error:
            raise PluginError(
                f"the codebook belongs to {self.path}, which the model does not have; use the "
                "model that it was made for"
            ) from error

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """A block in which the map's output comes from `Codebook.answers`."""

        def answer(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            return self.codebook.answers(inputs[0], output)

        if not len(self.codebook):
            yield
            return
        with model.get_submodule(self.path).register_forward_hook(answer):
            yield
