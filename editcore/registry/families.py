"""The family that a model belongs to, by its `model_type` in transformers."""

from editcore.errors import PluginError
from editcore.registry.catalogue import Registered
from editcore.registry.hookspecs import ModelFamilyInfo
from editcore.registry.registry import Registry


def family_of(model_type: str, registry: Registry) -> Registered[ModelFamilyInfo] | None:
    """The family that lists a model type, with its distribution; None if there is none.

    Raises `PluginError` if there are two.
    """
    families = registry.model_families.values()
    found = [entry for entry in families if model_type in entry.record.model_types]
    if len(found) > 1:
        both = " and ".join(f"{e.record.name!r} of {e.source.distribution}" for e in found[:2])
        raise PluginError(
            f"model type {model_type!r} belongs to two families, {both}; uninstall one of them"
        )
    return found[0] if found else None
