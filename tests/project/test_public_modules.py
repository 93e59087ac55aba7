"""Plugins import only from `editcore` and `editcore.toolkit`, which are documented in full."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import editcore
import editcore.toolkit
from refresh.toolkit import MODULES, PAGE, PublicName, page, public_names

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "editcore"
FOR_TESTS = "editcore.testing"
THIRD_PARTY = ROOT / "tests" / "plugin_package"
DOCUMENTS = ("docs/writing-an-editor.md", "README.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"{{ \w+ }}")
NAMES = [each for module in MODULES for each in public_names(PACKAGE, module)]


def foreign_code() -> Iterator[tuple[str, str]]:
    """Code written as a third party would write it, with its place."""
    for folder in (ROOT / "plugins", THIRD_PARTY):
        for file in folder.rglob("*.py"):
            yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
    for file in (PACKAGE / "scaffold" / "template").glob("*.py.jinja"):
        yield file.name, PLACEHOLDER.sub("x", file.read_text(encoding="utf-8"))
    for document in DOCUMENTS:
        for block in BLOCK.findall((ROOT / document).read_text(encoding="utf-8")):
            yield block.splitlines()[0].removeprefix("# "), block


def is_test(place: str) -> bool:
    return Path(place).name.startswith("test_")


def wrong_imports(place: str, text: str) -> list[str]:
    """The imports of a module from editcore that are not of its public names."""
    modules = {*MODULES, *([FOR_TESTS] if is_test(place) else [])}
    exported = {name: set(importlib.import_module(name).__all__) for name in modules}
    wrong = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            wrong += [each.name for each in node.names if _ours(each.name) - modules]
        elif isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            names = {each.name for each in node.names}
            wrong += [f"{node.module}.{n}" for n in names - exported.get(node.module, set())]
    return wrong


def _ours(module: str) -> set[str]:
    return {module} if module.split(".")[0] == "editcore" else set()


def test_plugins_import_public_names_alone() -> None:
    code = list(foreign_code())
    assert len(code) > 40
    found = {place: wrong for place, text in code if (wrong := wrong_imports(place, text))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "from editcore.updates.delta import Delta",
        "from editcore.models import hooks",
        "import editcore.keyvalue.keys",
        "from editcore import models",
        "from editcore.toolkit import Conv1D",
        "def f():\n    from editcore.testing import tiny_model",
    ],
)
def test_an_import_past_the_public_names_is_found(line: str) -> None:
    assert len(wrong_imports("editcore_mine/editor.py", line)) == 1


def test_every_public_name_is_exported_by_one_of_the_two() -> None:
    assert not set(editcore.__all__) & set(editcore.toolkit.__all__)
    exported = [*editcore.__all__, *editcore.toolkit.__all__]
    assert sorted(each.name for each in NAMES) == sorted(exported)
    assert all(hasattr(importlib.import_module(each.module), each.name) for each in NAMES)


@pytest.mark.parametrize("public", NAMES, ids=lambda each: each.name)
def test_a_public_name_is_documented(public: PublicName) -> None:
    assert len(public.text.split()) > 2


def test_the_page_of_public_names_is_made_from_the_code() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(PACKAGE), (
        "renew it: python -m refresh.toolkit"
    )
    linked = [ROOT / "docs" / "writing-an-editor.md", ROOT / "CONTRIBUTING.md"]
    assert all("toolkit.md)" in file.read_text(encoding="utf-8") for file in linked)


def test_planning_imports_neither_the_toolkit_nor_the_testing_kit() -> None:
    code = (
        "import sys, editcore; "
        f"print({{'torch', 'pytest', 'editcore.toolkit', {FOR_TESTS!r}}} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
