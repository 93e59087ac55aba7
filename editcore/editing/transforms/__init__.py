"""Delta transforms: functions applied to an editor's weight change before it is measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from editcore.config.messages import validated
from editcore.config.options import TransformConfig
from editcore.editing.diagnostics import flaw, merge_diagnostics
from editcore.editing.editor import EditResult
from editcore.errors import PluginError, in_one_line
from editcore.registry.hookspecs import DeltaTransformInfo
from editcore.registry.registry import Registry, resolve_factory

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel
    from editcore.planning.jobs import TransformSpec
    from editcore.updates.delta import Delta


@dataclass(frozen=True)
class TransformResult:
    """A transformed weight change, and numbers known from making it, for the edit's row."""

    delta: "Delta"
    diagnostics: Mapping[str, float] = field(default_factory=dict)


DeltaTransform = Callable[["Delta", "LoadedModel", Any], "Delta | TransformResult"]
"""Turns a weight change into another, given the model and the transform's options."""


@dataclass(frozen=True)
class BoundTransform:
    """A transform with its options; an `accumulated` one is for all edits together."""

    name: str
    function: DeltaTransform
    config: TransformConfig
    accumulated: bool = False


def bind(specs: "Sequence[TransformSpec]", registry: Registry) -> tuple[BoundTransform, ...]:
    """The delta transforms that a job names, in its order; `PluginError` if one is missing."""
    found = [(spec, registry.transforms[spec.uses].record) for spec in specs]
    return tuple(
        BoundTransform(
            info.name,
            resolve_factory(info.factory),
            validated(info.config, spec.options, f"options of the transform {info.name}"),
            info.accumulated,
        )
        for spec, info in found
        if isinstance(info, DeltaTransformInfo)
    )


def transformed(
    result: EditResult, transforms: Sequence[BoundTransform], model: "LoadedModel"
) -> EditResult:
    """The result with its delta transformed; a transform that raises makes it a failed one.

    Numbers that transforms report join the editor's (`merge_diagnostics`).
    """
    # Imported late, because the planner imports this module, and must not import torch.
    from editcore.updates.delta import Delta

    for transform in transforms:
        if result.delta is None:
            break
        try:
            found = transform.function(result.delta, model, transform.config)
            made = found if isinstance(found, TransformResult) else TransformResult(found)
            if not isinstance(made.delta, Delta):
                kind = type(made.delta).__name__
                raise PluginError(f"it returned {kind}, not a Delta; report this to its authors")
            if wrong := flaw(made.diagnostics):
                raise PluginError(f"it {wrong}; report this to its authors")
            known = merge_diagnostics(result.diagnostics, transform.name, made.diagnostics)
            result = replace(result, delta=made.delta, diagnostics=known)
        except Exception as error:  # a third party's transform may raise anything
            reason = f"transform {transform.name}: {in_one_line(error)}"
            result = replace(result, delta=None, status=reason)
    return result
