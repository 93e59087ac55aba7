"""What a shell completes an argument to: the names of bundled models and of installed editors."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def models(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    """The bundled models; if none fits, the shell offers folders."""
    from editcore.datasets.bundled import bundled_models

    return [CompletionItem(begun, type="dir"), *_that_fit(bundled_models(), begun)]


def editors(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    """The editors of all installed plugins."""
    from editcore.registry.registry import load_registry

    return _that_fit(load_registry().editors, begun)


def _that_fit(names: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(begun)]
