"""The records of one kind that plugins provide, by name, and the reasons why a name is missing."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from editcore.config.messages import did_you_mean
from editcore.errors import PluginError
from editcore.registry.candidates import VARIABLE
from editcore.registry.hookspecs import PROJECT

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Fields of records that hold several names.
LISTS = frozenset({"columns", "model_types", "fields"})


class Named(Protocol):
    """A record that a hook yields."""

    @property
    def name(self) -> str:
        """The name that configs use."""


RecordT = TypeVar("RecordT", bound=Named)


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from; `code` is a hash of its files, which changes with them."""

    distribution: str
    version: str
    code: str


@dataclass(frozen=True)
class Registered(Generic[RecordT]):
    """A record and the distribution that provides it."""

    record: RecordT
    source: Source

    @property
    def foreign_code(self) -> str:
        """The hash of a third party's sources; empty for editcore's own records.

        So a new version of a third party's plugin reruns finished jobs; one of editcore does not.
        """
        return "" if self.source.distribution == PROJECT else self.source.code


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be used, and why."""

    distribution: str
    version: str
    entry_point: str
    reason: str


@dataclass(frozen=True)
class Absent:
    """The plugins that provide nothing: those that failed, and those that the user left out."""

    failures: list[Failure] = field(default_factory=list)
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Possible reasons for a missing name, one per line."""
        lines = [f"\n  broken: {f.distribution}: {f.reason}" for f in self.failures]
        if self.left_out:
            lines.append(f"\n  left out by {VARIABLE}: {', '.join(self.left_out)}")
        return "".join(lines)


class Catalogue(Generic[RecordT]):
    """The records of one kind, by name. A name that two plugins claim belongs to neither."""

    def __init__(
        self,
        kind: str,
        record: type[RecordT] | UnionType,
        absent: Absent,
        reserved: str = "",
    ) -> None:
        self._kind = kind
        self._reserved = reserved
        self._record = record
        self._absent = absent
        self._records: dict[str, Registered[RecordT]] = {}
        self._contested: dict[str, str] = {}

    def check(self, record: RecordT) -> None:
        """Raise `PluginError` for a record of the wrong class, or with a bad name or options."""
        if not isinstance(record, self._record):
            raise PluginError(
                f"{record!r} is not an instance of {_named(self._record)}; "
                "report this to its authors"
            )
        if not NAME.fullmatch(record.name):
            raise PluginError(
                f"{self._kind} {record.name!r}: this is not a valid name; use lower-case letters, "
                "digits and '-'"
            )
        if record.name == self._reserved:
            raise PluginError(f"{self._kind} {record.name!r} has a reserved name; choose another")
        for field_name in LISTS & vars(record).keys():
            if not _is_names(getattr(record, field_name)):
                raise PluginError(
                    f"{field_name} of {self._kind} {record.name!r} is not a tuple of names; "
                    "report this to its authors"
                )
        if hasattr(record, "config") and not _is_options(record.config):
            raise PluginError(
                f"the config of {self._kind} {record.name!r} is {record.config!r}, "
                "which is not a class of options; report this to its authors"
            )

    def add(self, record: RecordT, source: Source) -> None:
        """Add a record; raises `PluginError` if the name is taken, and then neither has it."""
        self.check(record)
        if (there := self._records.get(record.name)) is not None:
            reason = (
                f"{self._kind} {record.name!r} is provided by both {there.source.distribution} and "
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
        raise PluginError(
            f"unknown {self._kind} {name!r}. {did_you_mean(name, self)}"
            f"Installed: {', '.join(self) or 'none'}.{self._absent}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._records.keys() - self._contested.keys()))

    def __contains__(self, name: object) -> bool:
        return name in self._records and name not in self._contested

    def values(self) -> list[Registered[RecordT]]:
        """The records, ordered by name."""
        return [self._records[name] for name in self]

    def foreign_code(self, names: Iterable[str]) -> dict[str, str]:
        """The source hash of each of these names that a third party provides."""
        return {name: code for name in names if (code := self[name].foreign_code)}


def _named(kind: type | UnionType) -> str:
    """The name of a class, or those of the classes of a union."""
    kinds = kind.__args__ if isinstance(kind, UnionType) else (kind,)
    return " or ".join(one.__name__ for one in kinds)


def _is_names(value: object) -> bool:
    """Whether this is a tuple of names; a lone string would count as its letters."""
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _is_options(config: object) -> bool:
    return isinstance(config, type) and issubclass(config, BaseModel)
