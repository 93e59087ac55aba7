"""The linear maps that are edited: those in the MLPs of the chosen blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from editcore.toolkit import LoadedModel, stores_transposed


@dataclass(frozen=True)
class Site:
    """A linear map, the name of its weight, and its widths."""

    parameter: str
    module: nn.Module
    d_in: int
    d_out: int


def find(model: LoadedModel, layers: Sequence[int], only_down: bool = False) -> tuple[Site, ...]:
    """The linear maps of the MLPs in `layers`, in the order of blocks; all or `only_down`."""
    anatomy = model.anatomy
    return tuple(
        _site(model, anatomy.path(layer, name), model.parts.block(layer).get_submodule(name))
        for layer in sorted(set(layers))
        for name in ((anatomy.down,) if only_down else anatomy.maps)
    )


def _site(model: LoadedModel, path: str, module: nn.Module) -> Site:
    name = f"{path}.weight"
    rows, columns = model.model.get_parameter(name).shape
    widths = (rows, columns) if stores_transposed(model.model, name) else (columns, rows)
    return Site(name, module, *widths)
