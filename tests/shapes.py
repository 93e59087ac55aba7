"""Checks the shapes in the library's annotations in every call that the tests make.

jaxtyping's own import hook checks all functions, including nested ones, and takes a quarter more
time; this one only checks annotations with a shape.
"""

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, TypeVar

from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

SHAPED = {"BFloat16", "Bool", "Float", "Float32", "Float64", "Int", "Num", "Shaped"}
ROOMS = tuple(
    f"editcore.{room}"
    for room in (
        "models",
        "updates",
        "keyvalue",
        "editing",
        "evaluation",
        "collapse.predictor",
        "runs.mechanism",
    )
)
CHECK = "_with_shapes_checked"
# An int counts as a float, as it does for mypy.
CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))
T = TypeVar("T")


def checked(item: T) -> T:
    """A function or dataclass that raises `jaxtyping.TypeCheckError` for a wrong shape."""
    found: T = jaxtyped(item, typechecker=CHECKER)
    return found


def install() -> None:
    """Check modules of the rooms that are imported from now on."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not any(name == room or name.startswith(f"{room}.") for room in ROOMS):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        tree = _Decorated().visit(ast.parse(self.get_data(self.path), self.path))
        vars(module)[CHECK] = checked
        exec(compile(ast.fix_missing_locations(tree), self.path, "exec"), vars(module))


class _Decorated(ast.NodeTransformer):
    """Decorates functions, methods and dataclasses, but nothing inside functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        if _mentions(node.args) or _mentions(node.returns):
            node.decorator_list.append(_decorator(node))  # under `contextmanager` and the like
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        if any(_mentions(part.annotation) for part in node.body if isinstance(part, ast.AnnAssign)):
            node.decorator_list.insert(0, _decorator(node))  # outside of `dataclass`
        return self.generic_visit(node)


def _decorator(node: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Name(CHECK, ast.Load()), node)


def _mentions(node: ast.AST | None) -> bool:
    inside = ast.walk(node) if node else ()
    return any(isinstance(each, ast.Name) and each.id in SHAPED for each in inside)
