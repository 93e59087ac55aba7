"""Transforms of the change that all edits of a sequence make together, while it is measured."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from editcore.editing.editor import EditResult
from editcore.editing.transforms import BoundTransform, transformed
from editcore.errors import PluginError
from editcore.models.loading import LoadedModel
from editcore.updates.cumulative_delta import CumulativeDelta
from editcore.updates.delta import Delta, DenseUpdate

NOTHING: Mapping[str, float] = MappingProxyType({})


@contextmanager
def restrained(
    changes: CumulativeDelta,
    model: LoadedModel,
    transforms: Sequence[BoundTransform],
    diagnostics: Mapping[str, float] = NOTHING,
) -> Iterator[Mapping[str, float]]:
    """A block in which the model carries the transformed sum of its edits.

    The transforms see the unedited model; the block gets `diagnostics` with what they report.
    Leaving it restores the bits of all edits. Raises `PluginError` if a transform fails.
    """
    if not transforms or not changes.parameters:
        yield diagnostics
        return
    total = changes.total()
    with _scaled(total, -1).applied(model.model):
        result = transformed(EditResult(total, diagnostics=diagnostics), transforms, model)
    if result.delta is None:
        raise PluginError(result.status)
    take_out = changes.try_out(_difference(result.delta, total))
    try:
        yield result.diagnostics
    finally:
        take_out()


def _scaled(delta: Delta, factor: float) -> Delta:
    return Delta({name: update.scaled(factor) for name, update in delta.updates.items()})


def _difference(one: Delta, other: Delta) -> Delta:
    """`one` minus `other`; what only `other` changes is taken back."""
    return Delta(
        {
            name: DenseUpdate(one.updates[name].dense() - update.dense())
            if name in one.updates
            else update.scaled(-1)
            for name, update in other.updates.items()
        }
    )
