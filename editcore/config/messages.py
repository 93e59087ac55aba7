"""Turns a failed validation into plain sentences: where, what is wrong, and what was meant."""

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line per mistake, each `where: path.of.keys: what is wrong`; unknown keys come first."""
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    return "\n".join(_sentence(dict(detail), model, where) for detail in details)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest of the known names, and all of them.

    >>> nearest("layr", ["layer", "steps"])
    "Did you mean 'layer'? Known: layer, steps."
    """
    names = sorted(known)
    return f"{did_you_mean(name, names)}Known: {', '.join(names) or 'none'}."


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """The question whether the nearest of the known names was meant; empty where none is near.

    `likeness` is difflib's ratio, at least that of the name to the nearest one.
    """
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=likeness)
    return f"Did you mean {near[0]!r}? " if near else ""


def _sentence(detail: Mapping[str, Any], model: type[BaseModel], where: str) -> str:
    location: Location = tuple(step for step in detail["loc"] if step != "[key]")
    path = ".".join(str(step) for step in location)
    if detail["type"] == "extra_forbidden":
        *section, key = location
        kind = _kind_at(model, tuple(section))
        known = kind.model_fields if _is_model(kind) else ()
        return f"{where}: {path}: unknown key. {nearest(str(key), known)}"
    if detail["type"] == "missing":
        return f"{where}: {path}: this key is missing; add it"
    if "[key]" in detail["loc"]:
        return f"{where}: {path}: labels hold letters, digits, '_', '-' and '.' only; rename it"
    message = str(detail["msg"]).removeprefix("Value error, ")
    given = detail.get("input")
    shown = "" if isinstance(given, dict) else f" (found {given!r})"
    return f"{where}: {path}: {message[:1].lower()}{message[1:]}{shown}".replace(": : ", ": ")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _kind_at(kind: Any, location: Location) -> Any:
    """The annotation that stands at `location` below `kind`, or None where it cannot be told."""
    kind = _plain(kind)
    if not location:
        return kind
    step, *rest = location
    if _is_model(kind):
        field = kind.model_fields.get(str(step))
        return _kind_at(field.annotation, tuple(rest)) if field else None
    arguments = get_args(kind)
    return _kind_at(arguments[-1], tuple(rest)) if arguments else None


def _plain(kind: Any) -> Any:
    """Take off `Annotated` and `| None`; a tuple counts as a list."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return next(_plain(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        return list[get_args(kind)[0]]  # type: ignore[misc]
    return kind
