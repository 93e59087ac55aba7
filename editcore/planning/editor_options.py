"""An editor's options as a study or a job gives them, made into what its plugin reads."""

from collections.abc import Mapping
from typing import Any

from editcore.config.messages import validated
from editcore.config.options import EditorConfig, key_strategy_of
from editcore.errors import PluginError, at, in_one_line
from editcore.registry.catalogue import Registered
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import Registry


def checked(
    found: Registered[EditorInfo], given: Mapping[str, Any], registry: Registry, place: str
) -> EditorConfig:
    """The options of an editor; `place` is where they are given.

    Raises `ConfigError` for an option that is unknown or unfit, `PluginError` for a key strategy
    that is not installed and for options that fail when they are asked what they need.
    """
    options = validated(found.record.config, given, place)
    try:
        name, _ = key_strategy_of(options), options.edited_layers()
    except Exception as error:  # a third party's options may raise anything
        wrong = f"{found.source.distribution} cannot say what these options need"
        raise PluginError(f"{place}: {wrong}: {in_one_line(error)}") from error
    # Key strategies are a registry of their own, so an editor's config cannot know their names.
    with at(place):
        _ = registry.key_strategies[name] if name else None
    return options
