"""The plugins to load: the built-in one and all installed ones, or only those named."""

import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editcore.config.messages import did_you_mean
from editcore.errors import PluginError
from editcore.registry.hookspecs import PROJECT

ENTRY_POINT_GROUP = "editcore"
BUILTIN = "editcore.builtin"
# An environment variable: the plugins to load, by distribution or entry point, comma-separated.
VARIABLE = "EDITCORE_PLUGINS"


@dataclass(frozen=True)
class Candidate:
    """A plugin to load; `load` returns its module or object with hook implementations."""

    name: str
    distribution: str
    version: str
    load: Any


def installed() -> list[Candidate]:
    """The built-in plugin and every entry point of the group `editcore`, in a fixed order."""
    version = importlib.metadata.version(PROJECT)
    builtin = Candidate(BUILTIN, PROJECT, version, lambda: importlib.import_module(BUILTIN))
    found = [
        Candidate(
            entry.name,
            entry.dist.name if entry.dist else entry.value,
            entry.dist.version if entry.dist else "",
            entry.load,
        )
        for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    ]
    return [builtin, *sorted(found, key=lambda c: (c.distribution, c.name))]


def chosen(found: Sequence[Candidate], named: str | None) -> list[Candidate]:
    """The built-in plugin and those that `named` lists; all if it is None.

    Raises `PluginError` for a name that is neither a distribution nor an entry point.
    """
    if named is None:
        return list(found)
    builtin, *others = found
    wanted = {name.strip() for name in named.split(",") if name.strip()}
    known = [name for candidate in others for name in (candidate.distribution, candidate.name)]
    if unknown := sorted(wanted - {*known, builtin.distribution}):
        listed = ", ".join(f"{c.distribution} ({c.name})" for c in others)
        raise PluginError(
            f"{VARIABLE} names {unknown[0]!r}, which is not installed. "
            f"{did_you_mean(unknown[0], known)}Installed: {listed or 'none'}."
        )
    return [builtin, *(c for c in others if wanted & {c.distribution, c.name})]
