"""Generates docs/toolkit.md, the names for plugins: `python -m refresh.toolkit`.

It is made from the source of `editcore` and `editcore.toolkit`, so names, signatures and shapes
agree with the code.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import click

from refresh.repository import root_option
from refresh.rooms import ORDER, room_of, rooms

MODULES = ("editcore", "editcore.toolkit")
PAGE = Path("docs/toolkit.md")
SHAPE = re.compile(r"`[^`]*\[[^`\]]+\]`")
SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-ZΔ`]|v\*)")
INTRODUCTION = """\
# What a plugin imports

Plugins import from two modules: `editcore`, which is imported when a study is planned and does not
import torch, and `editcore.toolkit`, which computes. Their tests may also use `editcore.testing`,
which has the [conformance suite](writing-an-editor.md#the-tests) and tiny models. Every other
module can change in any version; changes of these two are in the [changelog](../CHANGELOG.md).
Shapes are in brackets: `d_model` is the width of the states, `d_key` that of an MLP's hidden layer.

`python -m refresh.toolkit` generates this page from the code.
"""
Definition = ast.ClassDef | ast.FunctionDef | ast.Assign


@dataclass(frozen=True)
class PublicName:
    """A name that one of the two modules exports, the file that defines it, and its definition."""

    name: str
    module: str
    node: Definition
    text: str

    @property
    def room(self) -> str:
        """The folder that defines it."""
        return room_of(self.module)

    @property
    def signature(self) -> str:
        """Its signature, or its value."""
        if isinstance(self.node, ast.FunctionDef):
            return f"{self.name}{signature_of(self.node)}"
        if isinstance(self.node, ast.Assign):
            return ast.unparse(self.node)
        bases = ", ".join(map(ast.unparse, self.node.bases))
        return f"class {self.name}({bases})" if bases else f"class {self.name}"

    @property
    def members(self) -> Iterator[str]:
        """The fields and public methods of a class, one per line."""
        if not isinstance(self.node, ast.ClassDef):
            return
        for each in self.node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                yield f"made by `{self.name}{signature_of(each).removesuffix(' -> None')}`"
        fields = [unquoted(ast.unparse(each)) for each in self.node.body if is_field(each)]
        if fields:
            yield f"fields: {', '.join(f'`{field}`' for field in fields)}"
        for each in self.node.body:
            if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
                call = "" if is_property(each) else signature_of(each)
                yield f"`.{each.name}{call}`: {_shown(ast.get_docstring(each) or '')}"


def public_names(package: Path, module: str) -> list[PublicName]:
    """The names that a module exports, in the order of its imports."""
    tree = ast.parse(_file(package, module).read_text(encoding="utf-8"))
    return [
        _defined(package, node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]


def _file(package: Path, module: str) -> Path:
    path = package.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _defined(package: Path, module: str, name: str) -> PublicName:
    body = _body(_file(package, module))
    for node, following in zip(body, (*body[1:], None), strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return PublicName(name, module, node, ast.get_docstring(node) or "")
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return PublicName(name, module, node, _literal(following))
    raise LookupError(f"{module} does not define {name}")


@cache
def _body(file: Path) -> Sequence[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body


def _literal(node: ast.stmt | None) -> str:
    """The string after an assignment, which documents it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def is_field(node: ast.stmt) -> bool:
    """Whether a statement of a class declares a public field."""
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        return False
    return not node.target.id.startswith("_")


def is_property(node: ast.FunctionDef) -> bool:
    """Whether a method is read without a call."""
    return any(ast.unparse(each) in ("property", "cached_property") for each in node.decorator_list)


def signature_of(node: ast.FunctionDef) -> str:
    """Arguments, without `self`, and the type returned."""
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if "contextmanager" in map(ast.unparse, node.decorator_list):
        result = result.replace("Iterator[", "AbstractContextManager[")
    return unquoted(f"({arguments}){result}")


def unquoted(code: str) -> str:
    """Code without quotes around types.

    >>> unquoted("(model: 'LoadedModel | None', dtype: str = 'float32') -> 'Iterator[Delta]'")
    "(model: LoadedModel | None, dtype: str = 'float32') -> Iterator[Delta]"
    """
    return re.sub(r"(?<=: |> )'([^']+)'", r"\1", code)


def _shown(docstring: str) -> str:
    """The first sentence of a docstring, and those that give shapes."""
    prose = re.split(r"^\s*(?:>>>|Example::)", docstring, maxsplit=1, flags=re.MULTILINE)[0]
    first, *others = SENTENCE.split(" ".join(prose.split()))
    return " ".join([first, *(each for each in others if SHAPE.search(each))])


def page(package: Path) -> str:
    """The page, from the source in the folder of the package `editcore`."""
    return "\n".join([INTRODUCTION, *(_module(package, name) for name in MODULES)])


def _module(package: Path, module: str) -> str:
    titles = {room.name: room.rule for room in rooms(package)}
    found = sorted(public_names(package, module), key=lambda each: ORDER.index(each.room))
    parts = [f"## `{module}`\n"]
    for room, names in groupby(found, key=lambda each: each.room):
        parts.append(f"### {titles[room].rstrip('.')}\n")
        parts.append("".join(map(_entry, names)))
    return "\n".join(parts)


def _entry(each: PublicName) -> str:
    members = "".join(f"  - {line}\n" for line in each.members)
    return f"- **`{each.signature}`**<br>{_shown(each.text)}\n{members}"


@click.command()
@root_option
def main(root: Path) -> None:
    """Regenerate docs/toolkit.md."""
    (root / PAGE).write_text(page(root / "editcore"), encoding="utf-8")


if __name__ == "__main__":
    main()
