"""A model's or an adapter's folder reaches the hub as it is, private unless asked otherwise."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from editcore.cli import main
from tests.hub_double import Hub, Repository, served
from tests.studies import model_files

NAME = "me/edited"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, which needs a token; the tests are offline otherwise."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with served({}) as double:
        double.token = "hf_secret"
        monkeypatch.setattr(constants, "ENDPOINT", double.address)
        yield double


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder with what `apply` and a killed run leave in one."""
    folder = model_files(tmp_path / "edited")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "notes.txt").write_text("kept")
    for name in (".editcore.lock", ".model.safetensors.1.partial", "editcore-applied/0001"):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    return folder


def publish(folder: Path, *more: str) -> Result:
    command = ["publish", str(folder), "--to", "hub", "--name", NAME, *more]
    return CliRunner().invoke(main, command)


def shown(folder: Path) -> dict[str, bytes]:
    """The files that everybody may see."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.read_bytes() != b"old"
    }


def test_a_model_is_uploaded_to_a_private_repository_without_its_old_weights(
    hub: Hub, model: Path
) -> None:
    done = publish(model)
    assert done.exit_code == 0, done.output
    there = hub.repositories["models", NAME]
    assert there.private
    assert there.files == shown(model)
    assert {"config.json", "tokenizer/notes.txt"} <= there.files.keys()
    assert all(name in done.stdout for name in there.files)
    assert f"uploaded to {hub.address}/{NAME}" in done.stdout


def test_what_is_listed_is_what_is_uploaded_and_a_list_asks_nobody(hub: Hub, model: Path) -> None:
    listed = publish(model, "--list")
    assert (listed.exit_code, hub.asked) == (0, [])
    names = [line.split()[-1] for line in listed.stdout.splitlines()]
    publish(model)
    assert sorted(names) == sorted(hub.repositories["models", NAME].files)


def test_an_adapter_is_uploaded_and_one_without_weights_is_refused(
    hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    refused = publish(tmp_path)
    assert refused.exit_code == 2
    assert "no weights (*.safetensors)" in refused.output
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    assert publish(tmp_path).exit_code == 0
    assert hub.repositories["models", NAME].files == shown(tmp_path)


def test_a_public_repository_needs_the_option(hub: Hub, model: Path) -> None:
    hub.repositories["models", NAME] = Repository("c0", {}, private=False)
    refused = publish(model)
    assert refused.exit_code == 2
    assert "exists and is public; give --public" in refused.output
    assert hub.repositories["models", NAME].files == {}
    assert publish(model, "--public").exit_code == 0
    assert hub.repositories["models", NAME].files == shown(model)


def test_a_new_repository_can_be_public(hub: Hub, model: Path) -> None:
    assert publish(model, "--public").exit_code == 0
    assert not hub.repositories["models", NAME].private


def test_a_folder_with_an_unfinished_edit_is_refused(hub: Hub, model: Path) -> None:
    (model / "editcore-applied" / "0002.safetensors.unfinished").write_text("")
    done = publish(model)
    assert done.exit_code == 2
    assert "is in progress or was interrupted" in done.output
    assert hub.asked == []


def test_without_a_token_the_hub_s_refusal_is_one_sentence(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    done = publish(model)
    assert done.exit_code == 2
    assert f"{NAME} cannot be written (" in done.output and "HF_TOKEN" in done.output


def test_a_hub_that_does_not_answer_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = publish(model)
    assert done.exit_code == 2
    assert "HF_HUB_OFFLINE is set" in done.output
