"""Which layers `check` and `guard` edit if none is given."""

import json
from typing import Any

from editcore.config.study import ModelSection, StudyConfig
from editcore.errors import PluginError, in_one_line
from editcore.models.hub import fetch_description
from editcore.planning import preflight
from editcore.registry.registry import Registry
from editcore.runs.prepare import Say


def with_layers(
    config: StudyConfig, registry: Registry, say: Say, blocks: int | None = None
) -> StudyConfig:
    """A study of one model and one editor, with options that follow from the model's depth.

    Only missing options are added; `say` is called with each, and with how to choose another. The
    depth is `blocks` if it is given, and else read from the model's description.
    Raises `ModelError` for a hub id or a wheel that is neither in the cache nor can be downloaded.
    """
    ((name, model),) = config.models.items()
    ((label, editor),) = config.editors.items()
    uses = editor.uses or label
    if uses not in registry.editors:
        return config  # planning names the editors that there are
    if (blocks := blocks or _depth(name, model, say)) is None:
        return config  # planning names the option that is missing
    given = editor.options_by_model.get(name, {}) | editor.options
    usual = _usual(registry, uses, blocks)
    chosen = {option: value for option, value in usual.items() if option not in given}
    for option, value in chosen.items():
        say(_choice(option, value, blocks))
    options = editor.model_copy(update={"options": chosen | editor.options})
    return config.model_copy(update={"editors": {label: options}})


def _depth(name: str, model: ModelSection, say: Say) -> int | None:
    source = model.source or name
    fetch_description(source, model.revision, model.sha256, say)
    return preflight.depth(source, model.revision)


def _usual(registry: Registry, uses: str, blocks: int) -> dict[str, Any]:
    found = registry.editors[uses]
    try:
        return dict(found.record.config.for_depth(blocks))
    except Exception as error:  # a third party's code may raise anything
        raise PluginError(
            f"{found.source.distribution}: {uses} has no options for {blocks} blocks "
            f"({in_one_line(error)}); give them with --set, and report this to its authors"
        ) from error


def _choice(option: str, value: object, blocks: int) -> str:
    """What was chosen, and how to choose another."""
    several = isinstance(value, list | tuple)
    other = f"others with --set {option}=[N, …]" if several else f"another with --set {option}=N"
    chosen = f"choose {option}={json.dumps(value)} by the model's depth"
    return f"{chosen}; {other}, N from 0 to {blocks - 1}"
