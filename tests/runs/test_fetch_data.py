"""Published data are fetched once, by revision and hash; the study then runs without a network."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from editcore.config.study import StudyConfig, parse
from editcore.errors import DataError, Unfetched
from editcore.planning.planner import plan
from editcore.runs import fetch, fetch_data
from tests import web_double
from tests.hub_double import Hub, Repository, served
from tests.studies import SUBJECTS, TEXTS, plain_registry, record, study_config, write_config
from tests.web_double import Web
from tests.workflow.conftest import StudyFolder

COMMIT = "3" * 40
EDITCORE = "from editcore.cli import main; main()"
PATH = "data/test-00000.parquet"
FACTS = [record(10 + number, subject) for number, subject in enumerate(SUBJECTS)]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pl.DataFrame(rows).write_parquet(content)
    return content.getvalue()


FILE = parquet(FACTS)
LINES = json.dumps(TEXTS).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub with a data set in Parquet, and one whose licence is not stated."""
    repositories = {
        ("datasets", "somebody/facts"): Repository(COMMIT, {PATH: FILE}, ("license:mit",)),
        ("datasets", "somebody/other"): Repository(COMMIT, {"facts.json": b"[]"}),
    }
    with served(repositories) as double:
        yield double


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """A web server with texts."""
    with web_double.served({"texts.json": LINES}) as double:
        yield double


def online(folder: Path, hub: Hub, *command: str) -> tuple[int, str]:
    """Status and output of a command that may reach the hub, with caches of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
    environment |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "hub")}
    environment |= {"EDITCORE_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    return done.returncode, done.stdout + done.stderr


def test_a_study_is_fetched_as_it_says_and_then_runs_offline(
    hub: Hub, web: Web, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path)
    choices = {
        "models": {"tiny-gpt2": {}},
        "editors": {"ft": {"options": {"layer": 1, "steps": 1}}},
        "datasets": {"facts": {"hub": "somebody/facts", "path": PATH, "sha256": sha256(FILE)}},
        "perplexity": {"url": web.url("texts.json"), "texts": 2},
    }
    write_config(tmp_path / "study.yaml", study_config(**choices, moments={}))

    status, output = online(
        tmp_path, hub, sys.executable, "-c", EDITCORE, "plan", "study.yaml", "--check"
    )
    assert status == 3
    assert output.startswith("No: ")
    assert f"datasets.facts: somebody/facts: {PATH} is not on this machine; run `sna" in output

    status, output = online(tmp_path, hub, *folder.command("--dry-run", "fetch"))
    assert status == 0, output
    here = f"not here yet: somebody/facts: {PATH} at its latest revision, from the hub\n"
    assert here in output
    assert f"not here yet: {web.url('texts.json')}\n" in output
    assert hub.asked == web.asked == []

    status, output = online(tmp_path, hub, *folder.command("fetch"))
    assert status == 0, output
    assert f"download {PATH} of somebody/facts from the hub: 0.0 MB, licence: mit" in output
    assert f"SHA-256 {sha256(FILE)} as required; kept in the hub's cache" in output
    assert f"download {web.url('texts.json')}: 0.0 MB, licence not stated" in output
    assert f"SHA-256 {sha256(LINES)}, which `sha256` in the study can require" in output
    fetched = json.loads((tmp_path / "results" / "fetched.json").read_text())["data"]
    of_hub = {"source": f"somebody/facts: {PATH}", "revision": None, "commit": COMMIT}
    of_web = {"source": web.url("texts.json"), "revision": None, "commit": None}
    assert fetched == [of_hub | {"sha256": sha256(FILE)}, of_web | {"sha256": sha256(LINES)}]
    loads = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert len(loads) == 1, "although both the planning and the rule fetch"
    assert web.asked == ["texts.json"]

    hub.asked.clear()
    shard = "results/edits/model=tiny-gpt2/editor=ft/dataset=facts/shard-000.parquet"
    status, output = online(tmp_path, hub, *folder.command(shard))
    assert status == 0, output
    assert set(pl.read_parquet(tmp_path / shard)["case_id"]) == {10, 11, 12}
    assert hub.asked == []
    assert web.asked == ["texts.json"]


@pytest.fixture
def caches(tmp_path: Path, study_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a hub that this process may ask."""
    from huggingface_hub import constants

    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    files = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


def study(**choice: str) -> StudyConfig:
    given = {"hub": "somebody/facts", "path": PATH} | choice
    return parse(study_config(models={"tiny-gpt2": {}}, datasets={"facts": given}), "study.yaml")


def test_another_hash_of_the_hub_is_refused_and_not_kept(caches: Path) -> None:
    wrong = study(sha256="0" * 64)
    with pytest.raises(DataError, match=rf"datasets\.facts: .* {sha256(FILE)}, and 0{{64}} is re"):
        fetch_data.fetch(wrong, "", print)
    kept = [file for file in (caches / "hub").rglob("*") if file.is_file()]
    assert FILE not in [file.read_bytes() for file in kept]
    with pytest.raises(Unfetched, match="is not on this machine"):
        plan(wrong, "study.yaml", plain_registry())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"path": "data/tset-00000.parquet"}, "has no file data/tset.* Did you mean 'data/test-"),
        ({"revision": "v9"}, "at v9 cannot be fetched from the hub"),
        ({"hub": "nobody/none"}, "at its latest revision cannot be fetched from the hub"),
    ],
)
def test_what_the_hub_does_not_have_is_named(
    caches: Path, choice: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fetch_data.fetch(study(**choice), "", print)


def test_without_a_network_the_cache_is_used_or_the_reason_given(caches: Path) -> None:
    with pytest.raises(DataError, match="cannot be fetched from the hub: no network; check name"):
        fetch_data.fetch(study(), "no network", print)
    rows = fetch_data.fetch(study(), "", print)
    assert fetch_data.fetch(study(), "no network", pytest.fail) == rows
    assert fetch_data.fetch(study(), "", pytest.fail) == rows


def test_a_licence_that_the_hub_does_not_have_is_said_not_to_be_stated(caches: Path) -> None:
    told: list[str] = []
    fetch_data.fetch(study(hub="somebody/other", path="facts.json"), "", told.append)
    assert told[0].endswith("from the hub: 0.0 MB, licence not stated")


def test_planning_checks_the_hash_of_what_is_here(caches: Path, web: Web) -> None:
    def planned(**choice: str) -> None:
        sets = {"facts": choice}
        config = parse(study_config(datasets=sets), "study.yaml")
        plan(config, "study.yaml", plain_registry())

    local = Path("data/facts.json").read_bytes()
    planned(path="data/facts.json", sha256=sha256(local).upper())
    with pytest.raises(DataError, match=r"datasets\.facts: data/facts\.json has the SHA-256"):
        planned(path="data/facts.json", sha256="0" * 64)
    fetch_data.fetch(study(), "", print)
    planned(hub="somebody/facts", path=PATH, sha256=sha256(FILE))
    planned(hub="somebody/facts", path=PATH, revision=COMMIT)
    with pytest.raises(Unfetched, match=rf"with the SHA-256 {sha256(FILE)}, and 0{{64}} is requ"):
        planned(hub="somebody/facts", path=PATH, sha256="0" * 64)
    with pytest.raises(Unfetched, match=rf"{web.address}.* is not on this machine; run `snakemake"):
        planned(url=web.url("texts.json"))


def test_a_study_is_covered_once_its_data_are_fetched(caches: Path) -> None:
    file = caches / "fetched.json"
    fetch.run(study(), file, print)
    assert fetch.covers(study(), file)
    assert fetch.covers(study(revision=COMMIT), file), "the same under its own name"
    assert not fetch.covers(study(revision="v9"), file)
    assert not fetch.covers(study(path="other.json"), file)
    assert list(fetch.missing(study())) == []
    told = list(fetch.missing(study(sha256="0" * 64)))
    assert told == [f"somebody/facts: {PATH} at its latest revision, from the hub"]
