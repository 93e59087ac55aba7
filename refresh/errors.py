"""Lists the errors that docs/errors.md does not explain: `python -m refresh.errors`.

An entry of the page is a heading with a message, … for inserted values, and the remedy. Each group
of entries ends with a list of the other messages of some modules, made from the code.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import click

from editcore.atomic import write_text
from refresh.documents import between
from refresh.repository import root_option

PAGE = Path("docs/errors.md")
BASE = "EditcoreError"
# Errors that editcore or click shows with the message that they have, and an edit's own reason.
OTHERS = frozenset({"ValueError", "TypeError", "UsageError", "fail", "EditResult"})
GAP = "…"
BLOCK = re.compile(r"<!-- messages of (.+): start -->")
Trees = Mapping[str, ast.Module]
Functions = Mapping[str, list[tuple[str, ast.FunctionDef]]]


@dataclass(frozen=True)
class Message:
    """The text of an error, with … for inserted values, and the module that raises it."""

    module: str
    text: str


def messages(root: Path) -> list[Message]:
    """All messages of errors in the library and in the bundled plugins, by their first words."""
    files = [*(root / "editcore").rglob("*.py"), *(root / "plugins").glob("*/editcore_*/*.py")]
    trees = {
        _module(file.relative_to(root)): ast.parse(file.read_text(encoding="utf-8"))
        for file in files
    }
    reader = Reader(_error_names(trees) | OTHERS, _constants(trees), _functions(trees))
    found = {message for module, tree in trees.items() for message in reader.found(module, tree)}
    return sorted(found, key=lambda each: (each.text.lstrip(f"{GAP}:;, ").lower(), each.module))


def _module(file: Path) -> str:
    """The path of a module, without the folder `editcore` of the library."""
    return file.with_suffix("").as_posix().removeprefix("editcore/")


def _error_names(trees: Trees) -> frozenset[str]:
    """The name of the base class of our errors, and of its subclasses."""
    bases = {
        node.name: set(map(_name, node.bases))
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {BASE}
    while more := {name for name, own in bases.items() if own & found} - found:
        found |= more
    return frozenset(found)


def _constants(trees: Trees) -> dict[str, str]:
    """The texts of constants, by name; names with several texts are left out."""
    found: dict[str, set[str]] = {}
    for node in (node for tree in trees.values() for node in tree.body):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(text := node.value.value, str):
            for target in node.targets:
                found.setdefault(_name(target), set()).add(text)
    return {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


def _functions(trees: Trees) -> Functions:
    """The functions and properties that return text, with their modules, by name."""
    found: dict[str, list[tuple[str, ast.FunctionDef]]] = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and _name(node.returns) == "str":
                found.setdefault(node.name, []).append((module, node))
    return found


@dataclass(frozen=True)
class Reader:
    """Finds the messages of errors in a module, as far as they can be read from the code."""

    errors: frozenset[str]
    constants: Mapping[str, str]
    functions: Functions

    def found(self, module: str, tree: ast.Module) -> Iterator[Message]:
        """The messages of all errors that are made in a module."""
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef):
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call) and _name(node.func) in self.errors:
                        for argument in _argument(node):
                            yield from self._possible(argument, module, scope)

    def _possible(
        self, node: ast.AST | None, module: str, scope: ast.FunctionDef
    ) -> Iterator[Message]:
        """The possible values of an expression: a text, a variable, or a function's results."""
        if isinstance(node, ast.Constant | ast.JoinedStr):
            text = re.sub(rf"{GAP}+", GAP, self._template(node)).replace("\n", " ")
            if len(re.findall(r"\w\w+", text)) > 1:
                yield Message(module, text)
        elif isinstance(node, ast.Name):
            for value in _assigned(node.id, scope):
                yield from self._possible(value, module, scope)
        elif isinstance(node, ast.Call | ast.Attribute):
            name = _name(node.func if isinstance(node, ast.Call) else node)
            for home, function in self.functions.get(name, ()):
                if function is scope:  # it returns another object's text of the same name
                    continue
                for inner in ast.walk(function):
                    if isinstance(inner, ast.Return):
                        yield from self._possible(inner.value, home, function)

    def _template(self, node: ast.AST) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self._template, node.values))
        if isinstance(node, ast.FormattedValue):
            return self._template(node.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self.constants.get(_name(node), GAP)


def _name(node: ast.AST | None) -> str:
    """The last name of `a`, `a.b` and the like; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _assigned(name: str, scope: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in map(_name, targets):
                yield node.value


def _argument(call: ast.Call) -> list[ast.expr]:
    """The argument of an error, or of an edit that failed, that is its message."""
    return [word.value for word in call.keywords if word.arg == "status"] or call.args[:1]


def headings(text: str) -> list[str]:
    """The messages that the page explains."""
    return re.findall(r"^### (.+)$", text, re.MULTILINE)


def explains(heading: str, message: str) -> bool:
    """Whether a heading is the message, or the part of it that people recognise it by.

    >>> explains("unknown …. …", "unknown … …. …Installed: ….")
    True
    >>> explains("unknown …: misspelt", "unknown … …. …Installed: ….")
    False
    """
    parts = [part for part in re.split(rf"[{GAP} :]*{GAP}[{GAP} :]*", heading) if part]
    return re.search(".*".join(map(re.escape, parts)), message) is not None


def listed(text: str, found: Iterable[Message]) -> dict[str, list[str]]:
    """The messages that no heading explains, by the block of the page that has their module.

    Those of a module that no block names are under "".
    """
    known, blocks = headings(text), BLOCK.findall(text)
    lists: dict[str, list[str]] = {block: [] for block in blocks}
    for message in found:
        if not any(explains(heading, message.text) for heading in known):
            lists.setdefault(_block(message.module, blocks), []).append(message.text)
    return lists


def _block(module: str, blocks: Iterable[str]) -> str:
    """The block that names the module or, before its folders, the innermost of them."""
    named = [
        (len(name), block)
        for block in blocks
        for name in block.split()
        if f"{module}/".startswith(f"{name}/")
    ]
    return max(named, default=(0, ""))[1]


def page(root: Path) -> str:
    """The page with its lists as they are by the code."""
    text = (root / PAGE).read_text(encoding="utf-8")
    return reduce(_renewed, listed(text, messages(root)).items(), text)


def _renewed(text: str, block: tuple[str, list[str]]) -> str:
    modules, lines = block
    marks = (f"<!-- messages of {modules}: {end} -->" for end in ("start", "end"))
    return between(text, "\n".join(f"- {line}" for line in dict.fromkeys(lines)), *marks)


@click.command()
@root_option
def main(root: Path) -> None:
    """Renew the lists of messages in docs/errors.md."""
    write_text(root / PAGE, page(root))


if __name__ == "__main__":
    main()
