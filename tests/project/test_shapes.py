"""Tensors of public functions name their shapes, and the tests check these."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from editcore.keyvalue.keys import SubjectKeys
from editcore.keyvalue.least_squares import solve_least_squares
from editcore.keyvalue.second_moment import SecondMoment
from tests import shapes

ROOT = Path(__file__).parents[2]


def files() -> list[Path]:
    """The modules whose shapes are checked."""
    places = [ROOT.joinpath(*room.split(".")) for room in shapes.ROOMS]
    return [
        f for p in places for f in ([p.with_suffix(".py")] if not p.is_dir() else p.rglob("*.py"))
    ]


def public(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """The annotations of public functions, methods and fields."""
    for node in body:
        name = getattr(node, "name", "") or getattr(getattr(node, "target", None), "id", "")
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(node, ast.ClassDef):
            yield from ((f"{name}.{inner}", found) for inner, found in public(node.body))
        elif isinstance(node, ast.AnnAssign):
            yield name, node.annotation
        elif isinstance(node, ast.FunctionDef):
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            yield from ((name, a.annotation) for a in every if a and a.annotation)
            if node.returns:
                yield name, node.returns


def bare(annotation: ast.AST) -> bool:
    """Whether it means a tensor without a shape; tensors by name may have any shape."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return bare(ast.parse(annotation.value, mode="eval"))
    if (
        isinstance(annotation, ast.Subscript)
        and getattr(annotation.value, "id", "") in shapes.SHAPED
    ):
        return False
    if re.fullmatch(r"(dict|Mapping)\[str, (torch\.)?Tensor\]", ast.unparse(annotation)):
        return False
    if getattr(annotation, "id", "") == "Tensor" or getattr(annotation, "attr", "") == "Tensor":
        return True
    return any(bare(child) for child in ast.iter_child_nodes(annotation))


def test_every_tensor_of_a_public_name_has_a_shape() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files()
        for name, annotation in public(ast.parse(file.read_text(encoding="utf-8")).body)
        if bare(annotation)
    ]
    assert not found


@pytest.mark.parametrize("annotation", ["Tensor", "list[torch.Tensor]", '"torch.Tensor | None"'])
def test_a_tensor_without_a_shape_is_found(annotation: str) -> None:
    ((_, found),) = public(ast.parse(f"def f(x: {annotation}): ...").body)
    assert bare(found)
    ((_, named),) = public(ast.parse('def f(x: dict[str, Float[Tensor, "a b"]]): ...').body)
    assert not bare(named)


def test_a_wrong_shape_is_refused() -> None:
    moment = SecondMoment.from_matrix(0, torch.eye(4), tokens=9)
    solve_least_squares(torch.zeros(3, 2), torch.ones(4, 2), moment, 1.0)
    with pytest.raises(TypeCheckError, match="keys"):
        solve_least_squares(torch.zeros(3, 2), torch.ones(4, 5), moment, 1.0)
    SubjectKeys(torch.zeros(2, 4), torch.zeros(2, 3))
    with pytest.raises(TypeCheckError, match="outputs"):
        SubjectKeys(torch.zeros(2, 4), torch.zeros(5, 3))
    with pytest.raises(TypeCheckError, match="keys"):
        SubjectKeys(torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 3))
