"""The code in the documentation is real: it is cut out of the pages and run."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from editcore import EditContext
from editcore.config import EditorChoice
from editcore.keys import SubjectKeys
from editcore.models import wrap
from editcore.plugins import Candidate, Registry, installed, load_registry, resolve
from editcore.testing.models import tiny_model, tiny_requests

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "writing-an-editor.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The page's code blocks in one language."""
    return [text for kind, text in BLOCK.findall(PAGE.read_text()) if kind == language]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with every Python block in the file that its first line names."""
    for block in blocks("python"):
        file = tmp_path / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [
        n for n in sys.modules if n.split(".")[0] in ("editcore_random", "editcore_halfway")
    ]:
        del sys.modules[name]


def registry_with(module: str) -> Registry:
    """What is installed, and one of the page's packages."""
    extra = Candidate(module, module, "0.1.0", lambda: __import__(module))
    return load_registry([*installed(), extra])


def test_the_example_editor_changes_the_weight_by_the_size_asked_for(packages: Path) -> None:
    registry = registry_with("editcore_random")
    assert registry.failures == []
    record = registry.editors["random"].record
    editor = resolve(record.factory)(record.config(layer=1, size=0.2))
    for kind in ("gpt2", "llama"):
        model = wrap(kind, *tiny_model(kind))
        weight = model.model.get_parameter(model.layout.down_weight(1))
        before = weight.detach().clone()
        delta = editor.edit(EditContext(model), tiny_requests()[:1]).delta
        with delta.applied(model.model):
            change = (weight - before).norm() / before.norm()
        assert change.item() == pytest.approx(0.2, rel=1e-4)
        assert torch.equal(weight, before)


def test_the_example_strategy_lies_between_the_two_keys(packages: Path) -> None:
    registry = registry_with("editcore_halfway")
    assert registry.failures == []
    strategy = resolve(registry.key_strategies["halfway"].record.factory)
    keys = SubjectKeys(torch.randn(21, 8), torch.randn(21, 4))
    pair = strategy(keys)
    assert torch.equal(pair.direction, keys.mean)
    torch.testing.assert_close(pair.solve - keys.bare, keys.mean - pair.solve)


def test_the_example_project_registers_its_module() -> None:
    (project,) = map(tomllib.loads, blocks("toml"))
    assert project["project"]["entry-points"]["editcore"] == {"random": "editcore_random"}


def test_the_example_studies_name_real_editors_and_options(packages: Path) -> None:
    editors = registry_with("editcore_random").editors
    for block in blocks("yaml"):
        for label, raw in yaml.safe_load(block)["editors"].items():
            choice = EditorChoice.model_validate(raw)
            config = editors[choice.uses or label].record.config.model_validate(choice.options)
            assert config.edited_layers() == (2,)
