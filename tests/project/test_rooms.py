"""The rooms of `editcore/` keep to their order, sizes and light imports."""

import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from refresh.rooms import graph, room_of, upward

ROOT = Path(__file__).parents[2]
IMPORTS = graph(ROOT / "editcore")
# No module of these rooms imports torch or transformers, nor do these modules.
LIGHT = (
    "(root)",
    "config",
    "registry",
    "datasets",
    "sources",
    "planning",
    "records",
    "builtin",
    "summary",
    "live",
    "report",
    "publish",
)
ALSO_LIGHT = (
    "editcore",
    "editcore.api",
    "editcore.cli",
    "editcore.editing.editor",
    "editcore.collapse.verdict",
    "editcore.collapse.backtest",
)
LARGEST_FOLDER = 15
# A package of empty modules, to which wrong imports are added.
WRONG_ENDS = (
    "config/study",
    "keyvalue/keys",
    "editing/editor",
    "runs/edit",
    "runs/edit_rows",
    "runs/adhoc/guard",
    "runs/mechanism/run",
    "runs/sequence/run",
)


def test_no_import_leads_to_a_later_room() -> None:
    assert upward(IMPORTS) == []


def test_no_chain_of_imports_leads_back_to_its_start() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError with the chain


def test_a_folder_holds_few_modules() -> None:
    folders = Counter(
        file.parent.relative_to(ROOT)
        for file in (ROOT / "editcore").rglob("*.py")
        if file.name != "__init__.py"
    )
    assert {folder: n for folder, n in folders.items() if n > LARGEST_FOLDER} == {}


def test_light_rooms_import_no_torch() -> None:
    modules = [name for name in IMPORTS if room_of(name) in LIGHT or name in ALSO_LIGHT]
    assert len(modules) > len(LIGHT) + len(ALSO_LIGHT)
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'transformers'} & sys.modules.keys()\n"
        "    assert not heavy, f'{name} brings {heavy}'\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("config/study.py", "from editcore.runs import edit"),
        ("runs/mechanism/run.py", "from editcore.runs.adhoc import guard"),
        ("runs/sequence/run.py", "def f():\n    from editcore.runs import edit_rows"),
        ("keyvalue/keys.py", "if TYPE_CHECKING:\n    from editcore.editing.editor import Editor"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, module: str, line: str) -> None:
    for name in WRONG_ENDS:
        file = tmp_path / "editcore" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert upward(graph(tmp_path / "editcore")) == []
    (tmp_path / "editcore" / module).write_text(line)
    assert len(upward(graph(tmp_path / "editcore"))) == 1


def test_a_cycle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "editcore" / "models"
    package.mkdir(parents=True)
    (package / "one.py").write_text("from editcore.models import two")
    (package / "two.py").write_text("def f():\n    from editcore.models.one import x")
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    with pytest.raises(CycleError):
        TopologicalSorter(graph(package.parent)).prepare()
