"""The linear maps that change, found by name in the MLPs of a model."""

from dataclasses import dataclass

from torch import nn

from editcore import ModelError
from editcore.toolkit import LoadedModel, stores_transposed
from editcore_ultraedit.config import DOWN, UltraEditConfig


@dataclass(frozen=True)
class Site:
    """A linear map, the name of its weight, and its widths; maps of one shape share statistics."""

    layer: int
    parameter: str
    module: nn.Module
    shape: tuple[int, int]

    @property
    def statistics(self) -> str:
        """The name of the statistics of its shape."""
        return "x".join(map(str, self.shape))


def find(model: LoadedModel, config: UltraEditConfig) -> tuple[Site, ...]:
    """The maps in the order of the options; `ModelError` for one that the model does not have."""
    return tuple(
        _site(model, layer, _path(model, name))
        for name, layers in config.maps.items()
        for layer in layers
    )


def _path(model: LoadedModel, name: str) -> str:
    anatomy = model.anatomy
    named = {path.rpartition(".")[2]: path for path in anatomy.maps} | {DOWN: anatomy.down}
    if name not in named:
        raise ModelError(
            f"the MLPs of model {model.name!r} have no linear map {name!r}; "
            f"choose from {', '.join(sorted(named))}"
        )
    return named[name]


def _site(model: LoadedModel, layer: int, path: str) -> Site:
    module = model.parts.block(layer).get_submodule(path)
    name = f"{model.anatomy.path(layer, path)}.weight"
    rows, columns = model.model.get_parameter(name).shape
    shape = (columns, rows) if stores_transposed(model.model, name) else (rows, columns)
    return Site(layer, name, module, shape)
