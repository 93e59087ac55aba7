"""Finds the installed plugins, each in isolation, and answers what they bring."""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import pluggy
from pydantic import BaseModel

from editcore.config.messages import did_you_mean
from editcore.errors import PluginError, in_one_line
from editcore.registry.hookspecs import (
    AUTO,
    HOOKSPEC_VERSION,
    PROJECT,
    STATED_VERSION,
    DatasetFormatInfo,
    DeltaTransformInfo,
    EditcoreSpecs,
    EditorInfo,
    KeyStrategyInfo,
    MetricInfo,
    ModelFamilyInfo,
)

ENTRY_POINT_GROUP = "editcore"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
BUILTIN = "editcore.builtin"
# Fields of records that hold several names.
LISTS = frozenset({"columns", "model_types", "fields"})


class Named(Protocol):
    """Anything a hook yields."""

    @property
    def name(self) -> str:
        """The name that configs use."""


RecordT = TypeVar("RecordT", bound=Named)


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from; `code` is a hash of its files, so that changes are seen."""

    distribution: str
    version: str
    code: str


@dataclass(frozen=True)
class Registered(Generic[RecordT]):
    """A record and the distribution that brought it."""

    record: RecordT
    source: Source

    @property
    def foreign_code(self) -> str:
        """The hash of the sources; empty for what editcore brings itself.

        A new version of editcore runs no finished job again; one of a third party's plugin does.
        """
        return "" if self.source.distribution == PROJECT else self.source.code


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be used, and why."""

    distribution: str
    version: str
    entry_point: str
    reason: str


class Catalogue(Generic[RecordT]):
    """The records of one kind, by name. A name that two plugins claim belongs to neither."""

    def __init__(
        self, kind: str, record: type[RecordT], failures: list[Failure], reserved: str = ""
    ) -> None:
        self._kind = kind
        self._reserved = reserved
        self._record = record
        self._failures = failures
        self._records: dict[str, Registered[RecordT]] = {}
        self._contested: dict[str, str] = {}

    def check(self, record: RecordT) -> None:
        """Raise `PluginError` for what is no such record, has a malformed name, or no options."""
        if not isinstance(record, self._record):
            raise PluginError(f"{record!r} is no {self._record.__name__}")
        if not NAME.fullmatch(record.name):
            raise PluginError(
                f"{self._kind} {record.name!r} has no valid name: lower-case letters, digits, '-'"
            )
        if record.name == self._reserved:
            raise PluginError(f"{self._kind} {record.name!r} has a reserved name; choose another")
        for field_name in LISTS & vars(record).keys():
            if not _is_names(getattr(record, field_name)):
                raise PluginError(
                    f"{field_name} of {self._kind} {record.name!r} is not a tuple of names"
                )
        if hasattr(record, "config") and not _is_options(record.config):
            raise PluginError(
                f"the config of {self._kind} {record.name!r} is {record.config!r}, "
                "which is no class of options"
            )

    def add(self, record: RecordT, source: Source) -> None:
        """Take a record in; `PluginError` for a name that is taken, contested from then on."""
        self.check(record)
        if (there := self._records.get(record.name)) is not None:
            reason = (
                f"{self._kind} {record.name!r} is brought by both {there.source.distribution} and "
                f"{source.distribution}; uninstall one of them"
            )
            self._contested[record.name] = reason
            raise PluginError(reason)
        self._records[record.name] = Registered(record, source)

    def __getitem__(self, name: str) -> Registered[RecordT]:
        if name in self._contested:
            raise PluginError(self._contested[name])
        if name in self._records:
            return self._records[name]
        broken = "".join(f"\n  broken: {f.distribution}: {f.reason}" for f in self._failures)
        meant = did_you_mean(name, self)
        raise PluginError(
            f"unknown {self._kind} {name!r}. {meant}Installed: {', '.join(self) or 'none'}.{broken}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._records.keys() - self._contested.keys()))

    def __contains__(self, name: object) -> bool:
        return name in self._records and name not in self._contested

    def values(self) -> list[Registered[RecordT]]:
        """The records in the order of their names."""
        return [self._records[name] for name in self]

    def foreign_code(self, names: Iterable[str]) -> dict[str, str]:
        """The hash of the sources of each of these names that a third party brings."""
        return {name: code for name in names if (code := self[name].foreign_code)}


def _is_names(value: object) -> bool:
    """False for a lone string above all, which would count as its letters."""
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _is_options(config: object) -> bool:
    return isinstance(config, type) and issubclass(config, BaseModel)


@dataclass(frozen=True)
class Registry:
    """Everything that the installed plugins bring, and the plugins that failed."""

    editors: Catalogue[EditorInfo]
    key_strategies: Catalogue[KeyStrategyInfo]
    delta_transforms: Catalogue[DeltaTransformInfo]
    metrics: Catalogue[MetricInfo]
    model_families: Catalogue[ModelFamilyInfo]
    dataset_formats: Catalogue[DatasetFormatInfo]
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """A plugin to load: an object with hook implementations, or an entry point that gives one."""

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


def load_registry(candidates: Iterable[Candidate] | None = None) -> Registry:
    """Load every plugin in isolation: one that fails is recorded and the others keep working."""
    failures: list[Failure] = []
    registry = Registry(
        Catalogue("editor", EditorInfo, failures),
        Catalogue("key strategy", KeyStrategyInfo, failures),
        Catalogue("delta transform", DeltaTransformInfo, failures),
        Catalogue("metric", MetricInfo, failures),
        Catalogue("model family", ModelFamilyInfo, failures),
        Catalogue("data-set format", DatasetFormatInfo, failures, reserved=AUTO),
        failures,
    )
    for candidate in installed() if candidates is None else candidates:
        try:
            _register(registry, candidate)
        # A third party's import may raise anything, and may try to end the program.
        except (Exception, SystemExit) as error:
            if candidate.name == BUILTIN:
                raise
            reason = in_one_line(error)
            failures.append(
                Failure(candidate.distribution, candidate.version, candidate.name, reason)
            )
    return registry


def _register(registry: Registry, candidate: Candidate) -> None:
    """Validate one plugin in a manager of its own, and take its records in: all or none.

    Raises `PluginError` for names that are taken, too, but then keeps the plugin's other records:
    whose fault it is cannot be told.
    """
    plugin = candidate.load()
    _refuse_other_versions(plugin, candidate)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(EditcoreSpecs)
    manager.register(plugin, candidate.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            f"{error}; see `editcore plugins --help` for the hooks there are"
        ) from error
    source = Source(candidate.distribution, candidate.version, code_hash(plugin))
    kinds: Mapping[str, Catalogue[Any]] = MappingProxyType(
        {
            "editcore_editors": registry.editors,
            "editcore_key_strategies": registry.key_strategies,
            "editcore_delta_transforms": registry.delta_transforms,
            "editcore_metrics": registry.metrics,
            "editcore_model_families": registry.model_families,
            "editcore_datasets": registry.dataset_formats,
        }
    )
    brought = [
        (catalogue, record)
        for hook, catalogue in kinds.items()
        for records in getattr(manager.hook, hook)()
        for record in records
    ]
    seen: set[tuple[int, str]] = set()
    for catalogue, record in brought:
        catalogue.check(record)
        if (claim := (id(catalogue), record.name)) in seen:
            raise PluginError(f"it brings the name {record.name!r} twice; rename one of them")
        seen.add(claim)
    taken = []
    for catalogue, record in brought:
        try:
            catalogue.add(record, source)
        except PluginError as error:
            taken.append(str(error))
    if taken:
        raise PluginError("; ".join(taken))


def _refuse_other_versions(plugin: Any, candidate: Candidate) -> None:
    """Raise `PluginError` for a plugin made for other hooks than these, or stating none."""
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
    """SHA-256 over the Python files beside a module, a plugin's or a named one (12 digits)."""
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
    """Import the object that `"module:name"` names; the only place where implementations load."""
    module, _, name = factory.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a third party's module may raise anything
        raise PluginError(
            f"the plugin's factory {factory!r} cannot be imported ({in_one_line(error)}); "
            "reinstall or repair it"
        ) from error
