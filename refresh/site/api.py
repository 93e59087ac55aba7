"""The names that plugins import, with their documentation in full, as directives of Sphinx."""

import ast
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from refresh.rooms import ORDER, rooms
from refresh.toolkit import (
    INTRODUCTION,
    MODULES,
    PublicName,
    is_field,
    is_property,
    public_names,
    signature_of,
    unquoted,
)

EXAMPLE = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


def page(package: Path) -> str:
    """The page, from the source in the folder of the package `editcore`."""
    modules = "\n".join(part for module in MODULES for part in _module(package, module))
    introduction, _ = INTRODUCTION.rsplit("\n\n", 1)  # the end is about docs/toolkit.md itself
    return f"{introduction}\n\n{modules}"


def _module(package: Path, module: str) -> Iterator[str]:
    titles = {room.name: room.rule for room in rooms(package)}
    yield f"## `{module}`\n"
    found = sorted(public_names(package, module), key=lambda each: ORDER.index(each.room))
    for room, names in groupby(found, key=lambda each: each.room):
        yield f"### {titles[room].rstrip('.')}\n"
        yield from (_entry(each, module) for each in names)


def _entry(each: PublicName, module: str) -> str:
    node = each.node
    if isinstance(node, ast.ClassDef):
        members = "\n".join(_members(node))
        inherits = ", ".join(f"`{ast.unparse(base)}`" for base in node.bases)
        bases = f"Inherits from {inherits}.\n\n" if inherits else ""
        body = f":module: {module}\n\n{bases}{_prose(each.text)}\n\n{members}"
        return _directive(6, "class", each.name + _constructor(node), body)
    body = f":module: {module}\n\n{_prose(each.text)}"
    if isinstance(node, ast.FunctionDef):
        return _directive(6, "function", each.name + signature_of(node), body)
    value = ast.unparse(node.value)
    return _directive(6, "data", each.name, f":value: {' '.join(value.split())}\n{body}")


def _constructor(node: ast.ClassDef) -> str:
    """The arguments of a class: those of its `__init__`, or its fields."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return signature_of(each).removesuffix(" -> None")
    fields = [
        _field(each) for each in node.body if isinstance(each, ast.AnnAssign) and is_field(each)
    ]
    return f"({', '.join(fields)})" if fields else ""


def _field(node: ast.AnnAssign) -> str:
    """A field with its type and default; what pydantic's `Field` adds is on the page of options."""
    value = node.value
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "Field":
        value = next(iter(value.args), None)
    default = f" = {ast.unparse(value)}" if value else ""
    return unquoted(f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{default}")


def _members(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            prose = _prose(ast.get_docstring(each) or "")
            if is_property(each):
                kind = unquoted(f": {ast.unparse(each.returns)}")[2:] if each.returns else ""
                yield _directive(5, "property", each.name, f":type: {kind}\n\n{prose}")
            else:
                yield _directive(5, "method", each.name + signature_of(each), prose)


def _prose(docstring: str) -> str:
    """A docstring as Markdown: examples become code."""
    text = docstring.replace("::\n", ":\n")
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", text)


def _directive(length: int, kind: str, head: str, body: str) -> str:
    fence = "~" * length  # with backticks, the head could have none
    return f"{fence}{{py:{kind}}} {head}\n{body.rstrip()}\n{fence}\n"
