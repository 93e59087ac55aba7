"""The notebooks run, and show what is stored in them."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from refresh.tutorials import executed, notebooks, read, texts
from tests.docs.pages import ROOT, code

FILES = notebooks(ROOT)
NAMES = [file.name for file in FILES]
VERDICT = re.compile(
    r"SOUND|DAMAGED|COLLAPSED|WITHOUT EFFECT|sound|damaged|collapsed|without effect"
)
MOST_BYTES = 60_000


def test_there_are_three_notebooks_and_the_page_names_each() -> None:
    assert NAMES == ["a-stream.ipynb", "one-edit.ipynb", "your-own-editor.ipynb"]
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"](tutorials/{name})" not in page] == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The artefacts of the bundled model, made once for all notebooks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDITCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_notebook_runs_and_shows_the_verdicts_that_it_stores(file: Path, cache: None) -> None:
    found, stored = (list(texts(notebook)) for notebook in (executed(file), read(file)))
    verdicts = [VERDICT.findall(text) for text in found]
    assert any(verdicts)
    assert verdicts == [VERDICT.findall(text) for text in stored]


def test_the_code_of_the_page_runs(cache: None, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = code("docs/python.md", "python")
    exec(block, {})
    assert "c-rome on tiny-gpt2: Orbit is made by → Graal" in capsys.readouterr().out


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_stored_notebook_is_valid_small_and_of_no_particular_machine(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    nbformat.validate(read(file))
    assert read(file).nbformat == 4
    assert len(text) < MOST_BYTES
    assert not re.search(r"/(home|root|tmp|usr|Users)/|\\\\Users", text)
    cells = [cell for cell in read(file).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
