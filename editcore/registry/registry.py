"""Loads the installed plugins, each in isolation, and keeps what they provide."""

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from editcore.errors import PluginError, in_one_line
from editcore.registry.candidates import BUILTIN, VARIABLE, Candidate, chosen, installed
from editcore.registry.catalogue import Absent, Catalogue, Failure, Source
from editcore.registry.hookspecs import (
    AUTO,
    HOOKSPEC_VERSION,
    PROJECT,
    STATED_VERSION,
    DatasetFormatInfo,
    EditcoreSpecs,
    EditorInfo,
    JudgeInfo,
    KeyStrategyInfo,
    MetricInfo,
    ModelFamilyInfo,
    TransformInfo,
)


@dataclass(frozen=True)
class Registry:
    """Everything that the installed plugins provide, and the plugins that provide nothing."""

    editors: Catalogue[EditorInfo]
    key_strategies: Catalogue[KeyStrategyInfo]
    transforms: Catalogue[TransformInfo]
    metrics: Catalogue[MetricInfo]
    model_families: Catalogue[ModelFamilyInfo]
    dataset_formats: Catalogue[DatasetFormatInfo]
    judges: Catalogue[JudgeInfo]
    absent: Absent

    @property
    def failures(self) -> list[Failure]:
        """The plugins that could not be used."""
        return self.absent.failures


def load_registry(candidates: Iterable[Candidate] | None = None) -> Registry:
    """Load every plugin in isolation: one that fails is recorded and the others keep working.

    By default, `candidates` are the installed plugins, or only those that the environment variable
    EDITCORE_PLUGINS names. Raises `PluginError` if one of these is not installed.
    """
    found = installed() if candidates is None else list(candidates)
    loaded = chosen(found, os.environ.get(VARIABLE)) if candidates is None else found
    absent = Absent(left_out=tuple(c.distribution for c in found if c not in loaded))
    registry = Registry(
        Catalogue("editor", EditorInfo, absent),
        Catalogue("key strategy", KeyStrategyInfo, absent),
        Catalogue("transform", TransformInfo, absent),
        Catalogue("metric", MetricInfo, absent),
        Catalogue("model family", ModelFamilyInfo, absent),
        Catalogue("data-set format", DatasetFormatInfo, absent, reserved=AUTO),
        Catalogue("judge", JudgeInfo, absent),
        absent,
    )
    for candidate in loaded:
        try:
            _register(registry, candidate)
        # A third party's module may raise anything, or even exit.
        except (Exception, SystemExit) as error:
            if candidate.name == BUILTIN:
                raise
            reason = in_one_line(error)
            absent.failures.append(
                Failure(candidate.distribution, candidate.version, candidate.name, reason)
            )
    return registry


def _register(registry: Registry, candidate: Candidate) -> None:
    """Validate one plugin in a manager of its own and add its records, all or none.

    If names are already taken, it raises `PluginError` but keeps the plugin's other records, since
    it is not known which plugin is wrong.
    """
    plugin = candidate.load()
    _refuse_other_versions(plugin, candidate)
    source = Source(candidate.distribution, candidate.version, code_hash(plugin))
    provided = _provided(_manager(plugin, candidate), registry)
    _check(provided)
    taken = []
    for catalogue, record in provided:
        try:
            catalogue.add(record, source)
        except PluginError as error:
            taken.append(str(error))
    if taken:
        raise PluginError("; ".join(taken))


def _manager(plugin: Any, candidate: Candidate) -> pluggy.PluginManager:
    """A manager with this plugin only; raises `PluginError` for unknown hooks."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(EditcoreSpecs)
    manager.register(plugin, candidate.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{error}; see `editcore plugins --help` for the known hooks") from error
    return manager


def _provided(
    manager: pluggy.PluginManager, registry: Registry
) -> list[tuple[Catalogue[Any], Any]]:
    """What the plugin's hooks yield, each with the catalogue for it."""
    kinds: Mapping[str, Catalogue[Any]] = {
        "editcore_editors": registry.editors,
        "editcore_key_strategies": registry.key_strategies,
        "editcore_delta_transforms": registry.transforms,
        "editcore_editor_wrappers": registry.transforms,
        "editcore_metrics": registry.metrics,
        "editcore_model_families": registry.model_families,
        "editcore_datasets": registry.dataset_formats,
        "editcore_judges": registry.judges,
    }
    return [
        (catalogue, record)
        for hook, catalogue in kinds.items()
        for records in getattr(manager.hook, hook)()
        for record in records
    ]


def _check(provided: Iterable[tuple[Catalogue[Any], Any]]) -> None:
    """Raise `PluginError` for a malformed record or a repeated name."""
    seen: set[tuple[int, str]] = set()
    for catalogue, record in provided:
        catalogue.check(record)
        if (claim := (id(catalogue), record.name)) in seen:
            raise PluginError(f"it registers the name {record.name!r} twice; rename one of them")
        seen.add(claim)


def _refuse_other_versions(plugin: Any, candidate: Candidate) -> None:
    """Raise `PluginError` if a plugin was made for another version of the hooks, or gives none."""
    stated = getattr(plugin, STATED_VERSION, None)
    if stated == HOOKSPEC_VERSION:
        return
    if not isinstance(stated, int):
        raise PluginError(
            f"it does not state which version of the hooks it was made for; once it follows "
            f"docs/writing-an-editor.md, add `{STATED_VERSION} = {HOOKSPEC_VERSION}` to its module"
        )
    outdated = candidate.distribution if stated < HOOKSPEC_VERSION else PROJECT
    raise PluginError(
        f"it was made for version {stated} of the hooks, and this editcore has version "
        f"{HOOKSPEC_VERSION}; install a newer version of {outdated}"
    )


def code_hash(plugin: Any) -> str:
    """12 hex digits of SHA-256 over all Python files of the package that a plugin is in.

    `plugin` is a module, an object, or the name of a module.
    """
    name = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", None)
    module = name or type(plugin).__module__
    spec = importlib.util.find_spec(module.split(".")[0])
    digest = hashlib.sha256()
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode())
            digest.update(file.read_bytes())
    if spec and spec.origin and not spec.submodule_search_locations:
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:12]


def resolve_factory(factory: str) -> Any:
    """Import the object that `"module:name"` names; implementations are imported only here."""
    module, _, name = factory.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a third party's module may raise anything
        raise PluginError(
            f"the plugin's factory {factory!r} cannot be imported ({in_one_line(error)}); "
            "reinstall or repair it"
        ) from error
