"""A hub that does not answer gives one message within seconds; the cache is used if possible."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from editcore.errors import ModelError
from editcore.models import hub
from editcore.models.loading import load_model
from tests.hub_double import Repository, served


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The tests are offline; here the hub is asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return monkeypatch


@pytest.fixture
def mute() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_answers_is_asked(online: pytest.MonkeyPatch) -> None:
    with served({}) as double:
        online.setattr(constants, "ENDPOINT", double.address)
        assert hub.silence() == ""
        assert not hub.cache_only("somebody/small")


def test_a_hub_that_refuses_connections_is_reported_at_once(online: pytest.MonkeyPatch) -> None:
    online.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(
        ModelError, match=r"'somebody/small' .* the hub does not answer \(.*refused"
    ):
        load_model("small", "somebody/small")
    assert time.monotonic() - started < 5


def test_a_hub_that_never_answers_is_given_up_after_some_seconds(
    online: pytest.MonkeyPatch, mute: str
) -> None:
    online.setattr(constants, "ENDPOINT", mute)
    started = time.monotonic()
    assert hub.silence(seconds=0.5) != ""
    assert time.monotonic() - started < 3


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        hub.fetch_description("somebody/small", None, None, print)


def test_a_folder_needs_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "silence", lambda: pytest.fail("the hub was asked"))
    hub.fetch_description("tiny-gpt2", None, None, print)
    assert not hub.cache_only("tiny-gpt2")


def test_a_model_that_the_hub_does_not_have_is_named(online: pytest.MonkeyPatch) -> None:
    with served({}) as double:
        online.setattr(constants, "ENDPOINT", double.address)
        with pytest.raises(ModelError, match=r"'nobody/none' .* cannot be fetched"):
            hub.fetch_description("nobody/none", None, None, print)


def test_a_model_s_own_files_are_downloaded_and_no_others(
    online: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = ("config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json")
    others = ("pytorch_model.bin", "onnx/model.safetensors", "consolidated.safetensors")
    there = Repository("c" * 40, dict.fromkeys((*files, *others), b"{}"))
    with served({("models", "somebody/small"): there}) as double:
        online.setattr(constants, "ENDPOINT", double.address)
        files_at = f"{double.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        online.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files_at)
        online.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        folder = hub.downloaded("somebody/small", None)
        assert sorted(str(f.relative_to(folder)) for f in folder.rglob("*")) == sorted(files)
        with pytest.raises(ModelError, match=r"'somebody/none' .* cannot be fetched"):
            hub.downloaded("somebody/none", None)
