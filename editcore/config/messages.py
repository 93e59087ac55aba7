"""Turns a failed validation into sentences: the place, the mistake, and a suggestion."""

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from editcore.errors import ConfigError

Location = tuple[int | str, ...]
LONGEST_KEY = 60
MOST_SHOWN = 10
ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(kind: type[ModelT], given: object, where: str) -> ModelT:
    """`given` validated as `kind`; raises `ConfigError` listing every mistake."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, where)) from None


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line per mistake, each `where: path.of.keys: what is wrong`; unknown keys come first.

    Only the first ten mistakes are listed, since a file of another kind may have thousands.
    """
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    lines = [_sentence(dict(detail), model, where) for detail in details[:MOST_SHOWN]]
    more = len(details) - len(lines)
    return "\n".join([*lines, f"{where}: and {more} more"] if more else lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name and all known names.

    >>> nearest("layr", ["layer", "steps"])
    "Did you mean 'layer'? Known: layer, steps."
    """
    names = sorted(known)
    return f"{did_you_mean(name, names)}Known: {', '.join(names) or 'none'}."


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """The question "Did you mean …?" with the nearest known name; empty if none is near.

    `likeness` is the smallest `difflib` ratio that counts as near.
    """
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=likeness)
    return f"Did you mean {near[0]!r}? " if near else ""


def shown(value: object, width: int = 80) -> str:
    """A value as messages show it: its `repr` on one line, cut to `width` characters.

    >>> shown("resources"), shown(list(range(1000)), 12)
    ("'resources'", '[0, 1, 2, 3,…')
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number with thousands of digits, or deep nesting
        text = f"a {type(value).__name__}"
    return text if len(text) <= width else f"{text[:width]}…"


def _sentence(detail: Mapping[str, Any], model: type[BaseModel], where: str) -> str:
    location: Location = tuple(step for step in detail["loc"] if step != "[key]")
    path = ".".join(_step(step) for step in location)
    if detail["type"] == "extra_forbidden":
        *section, key = location
        kind = _kind_at(model, tuple(section))
        known = kind.model_fields if _is_model(kind) else ()
        return f"{where}: {path}: unknown key. {nearest(str(key), known)}"
    if detail["type"] == "missing":
        return f"{where}: {path}: this key is missing; add it"
    if "[key]" in detail["loc"]:
        return (
            f"{where}: {path}: labels may only contain letters, digits, '_', '-' and '.'; rename it"
        )
    message = str(detail["msg"]).removeprefix("Value error, ")
    given = detail.get("input")
    found = "" if isinstance(given, dict) else f" (found {shown(given)})"
    return f"{where}: {path}: {message[:1].lower()}{message[1:]}{found}".replace(": : ", ": ")


def _step(step: int | str) -> str:
    """A key as part of a path; long or unprintable keys as in `shown`."""
    text = str(step)
    return text if text.isprintable() and len(text) <= LONGEST_KEY else shown(text)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _kind_at(kind: Any, location: Location) -> Any:
    """The annotation at `location` below `kind`, or None if it is not known."""
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
    """The type without `Annotated` and `| None`; a tuple counts as a list."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return next(_plain(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        return list[get_args(kind)[0]]  # type: ignore[misc]
    return kind
