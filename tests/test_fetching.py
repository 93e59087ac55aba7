"""Models are fetched once, by revision, and then load without a network."""

import json
from pathlib import Path

import pytest

from editcore import fetching
from editcore.config import StudyConfig, parse
from editcore.errors import ModelError
from editcore.models import load
from editcore.testing.models import save_tiny_model
from tests.studies import study_config

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache, as a download leaves it; the tests are offline, so nothing else is reached."""
    from huggingface_hub import constants
    from transformers.utils import hub

    repository = tmp_path / "models--somebody--small"
    save_tiny_model("gpt2", repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def study(**model: str) -> StudyConfig:
    return parse(study_config(models={"small": {"source": "somebody/small", **model}}), "study")


def test_a_fetched_model_is_named_by_its_commit_and_loads_offline(cache: Path) -> None:
    fetching.run(study(), cache / "fetched.json")
    assert json.loads((cache / "fetched.json").read_text()) == {"small": COMMIT}
    assert load("small", "somebody/small", revision=COMMIT).layout.depth > 0


def test_a_bundled_model_is_not_fetched(cache: Path) -> None:
    fetching.run(study(source="tiny-gpt2"), cache / "fetched.json")
    assert json.loads((cache / "fetched.json").read_text()) == {}


@pytest.mark.parametrize("model", [{"revision": "v9"}, {"source": "nobody/none"}])
def test_what_cannot_be_had_is_named(cache: Path, model: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"models\.small: .* cannot be fetched"):
        fetching.run(study(**model), cache / "fetched.json")
    assert not (cache / "fetched.json").exists()
