"""Fixtures that every test folder can use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import shapes

# Before any conftest or test imports the library.
shapes.install()

# Its tests run where it is installed; `test_plugin_package.py` does both.
collect_ignore = ["plugin_package"]

ModelSaver = Callable[..., Path]

# Folders whose files take minutes; as the last ones, they would leave the other workers idle.
LONG = ("tests/cluster/", "tests/workflow/")


def pytest_configure() -> None:
    """Give the tests no network and one thread each, before anything imports torch."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files if several workers share the tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture
def study_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the model and data of `study_config`; no model can be loaded."""
    from tests.studies import model_files, write_data

    monkeypatch.chdir(tmp_path)
    model_files(tmp_path / "model")
    write_data(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> ModelSaver:
    """`saved_model("llama") -> Path`: a tiny random model in Hugging Face format, one per session.

    Treat the folder as read-only; `bos=True` gives a tokenizer that puts a start token first.
    """
    from editcore.testing.models import save_tiny_model

    folders: dict[tuple[str, bool], Path] = {}

    def save(kind: str, *, bos: bool = False) -> Path:
        if (kind, bos) not in folders:
            folder = tmp_path_factory.mktemp(f"{kind}-bos" if bos else kind)
            folders[kind, bos] = save_tiny_model(kind, folder, bos=bos)
        return folders[kind, bos]

    return save
