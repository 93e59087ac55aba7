"""Validates an editor's options, as a study or a job gives them."""

from collections.abc import Mapping
from typing import Any

from editcore.config.messages import validated
from editcore.config.options import EditorConfig, WrappedOptions, key_strategy_of
from editcore.errors import EditcoreError, PluginError, at, in_one_line
from editcore.registry.catalogue import Registered
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import Registry


def checked(
    found: Registered[EditorInfo], given: Mapping[str, Any], registry: Registry, place: str
) -> EditorConfig:
    """The validated options of an editor; `place` is where they were given.

    Raises `ConfigError` for an unknown or invalid option, `PluginError` for an unknown key strategy
    and for options that fail when asked what they require.
    """
    options = validated(found.record.config, given, place)
    try:
        name, _ = key_strategy_of(options), options.edited_layers()
    except Exception as error:  # a third party's options may raise anything
        raise PluginError(
            f"{place}: {found.source.distribution} failed when asked what these options need "
            f"({in_one_line(error)}); report this to its authors"
        ) from error
    # An editor's config class cannot check this: it does not know the registry.
    with at(place):
        _ = registry.key_strategies[name] if name else None
    return options


def require_combinable(asked: WrappedOptions) -> None:
    """Raise `ConfigError` if a wrapper cannot be combined with the editor.

    Raises `PluginError` for options that fail when asked what they require.
    """
    try:
        _ = key_strategy_of(asked)
    except EditcoreError:
        raise
    except Exception as error:  # a third party's options may raise anything
        raise PluginError(
            f"a wrapper failed when asked what its options need ({in_one_line(error)}); report "
            "this to its authors"
        ) from error
