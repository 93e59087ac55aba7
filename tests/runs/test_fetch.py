"""Models and the data of tasks are fetched once, by revision, and then load without a network."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from editcore.config.study import StudyConfig, parse
from editcore.datasets.invented_world import REAL_TASKS
from editcore.errors import ModelError
from editcore.models.loading import load_model
from editcore.runs import fetch
from editcore.testing.models import save_tiny_model
from tests.hub_double import Hub, Repository, served
from tests.studies import study_config, write_config, write_data
from tests.workflow.conftest import StudyFolder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUESTIONS, PIQA = "1" * 40, "2" * 40
EDITCORE = "from editcore.cli import main; main()"
TASK = {
    "task": "questions",
    "dataset_path": "somebody/questions",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": ["yes", "no"],
    "doc_to_target": 0,
    "metric_list": [{"metric": "acc"}],
}
SPLITS = """---
configs:
- config_name: default
  data_files:
{}
---
"""


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
    monkeypatch.setattr(hub, "constants", constants)
    return tmp_path


def study(task: str = "", **model: str) -> StudyConfig:
    more: dict[str, Any] = {"sequences": {"tasks": [task]}} if task else {}
    models = {"small": {"source": "somebody/small", **model}}
    return parse(study_config(models=models, **more), "study")


def test_a_fetched_model_is_named_by_its_commit_and_loads_offline(cache: Path) -> None:
    fetch.run(study(), cache / "fetched.json", print)
    fetched = {"source": "somebody/small", "revision": None, "commit": COMMIT}
    written = json.loads((cache / "fetched.json").read_text())
    assert written == {"data": [], "models": [fetched], "tasks": {}}
    assert load_model("small", "somebody/small", revision=COMMIT).parts.depth > 0


def test_a_bundled_model_is_not_fetched(cache: Path) -> None:
    fetch.run(study(source="tiny-gpt2"), cache / "fetched.json", print)
    assert json.loads((cache / "fetched.json").read_text())["models"] == []


@pytest.mark.parametrize("model", [{"revision": "v9"}, {"source": "nobody/none"}])
def test_what_cannot_be_downloaded_is_named(cache: Path, model: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"models\.small: .* cannot be fetched"):
        fetch.run(study(**model), cache / "fetched.json", print)
    assert not (cache / "fetched.json").exists()


def test_only_what_is_not_in_the_cache_is_listed_as_missing(cache: Path) -> None:
    assert list(fetch.missing(study())) == []
    assert list(fetch.missing(study(source="tiny-gpt2"))) == []
    assert list(fetch.missing(study(revision="v9"))) == ["somebody/small at v9, from the hub"]
    (cache / "models--somebody--small" / "snapshots" / COMMIT / "model.safetensors").unlink()
    there = "somebody/small at its latest revision, from the hub"
    assert list(fetch.missing(study())) == [there], "its configuration alone is not enough"


def test_a_study_is_covered_by_what_was_fetched_for_it_and_by_nothing_else(cache: Path) -> None:
    file = cache / "fetched.json"
    assert not fetch.covers(study(), file)
    fetch.run(study(), file, print)
    assert fetch.covers(study(), file)
    assert fetch.covers(study(revision=COMMIT), file), "the same under its own name"
    assert fetch.covers(study(source="tiny-gpt2"), file), "needs nothing"
    assert not fetch.covers(study(revision="v9"), file)
    assert not fetch.covers(study(source="somebody/large"), file)
    assert not fetch.covers(study(task="piqa"), file)
    asked = parse(study_config(models={"small": {"source": "somebody/small"}}, downstream={}), "s")
    assert not fetch.covers(asked, file), "the tasks that own models have by default"
    there = json.loads(file.read_text())
    file.write_text(json.dumps(there | {"tasks": {name: {} for name in REAL_TASKS}}))
    assert fetch.covers(asked, file)
    file.write_text(json.dumps({"small": COMMIT}))
    assert not fetch.covers(study(), file), "as an earlier version wrote it"


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def dataset(commit: str, **splits: list[dict[str, Any]]) -> Repository:
    """A data set of JSON lines, one file for each split."""
    listed = "\n".join(f"  - split: {s}\n    path: data/{s}.jsonl" for s in splits)
    files = {f"data/{split}.jsonl": lines(rows) for split, rows in splits.items()}
    return Repository(commit, {"README.md": SPLITS.format(listed).encode(), **files})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with a model, the data of a task of one's own, and that of one of lm-eval's own."""
    model = save_tiny_model("gpt2", tmp_path_factory.mktemp("model"))
    files = {str(f.relative_to(model)): f.read_bytes() for f in model.rglob("*") if f.is_file()}
    goals = [{"goal": f"Goal {n}", "sol1": "This", "sol2": "That", "label": 0} for n in range(4)]
    repositories = {
        ("models", "somebody/small"): Repository(COMMIT, files | {"model.bin": b"not wanted"}),
        ("datasets", "somebody/questions"): dataset(QUESTIONS, test=[{"question": "Is it?"}] * 3),
        ("datasets", "baber/piqa"): dataset(PIQA, train=goals, validation=goals),
    }
    with served(repositories) as double:
        yield double


@pytest.fixture(scope="module")
def fetched(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFolder, list[str]]:
    """A study whose model and task data were fetched from that hub, and what was asked for."""
    folder = StudyFolder(tmp_path_factory.mktemp("study"))
    write_data(folder.path)
    (folder.path / "questions.yaml").write_text(yaml.safe_dump(TASK))
    choices = {
        "models": {"small": {"source": "somebody/small"}},
        "editors": {"ft": {"options": {"layer": 1, "steps": 1}}},
        "downstream": {"tasks": ["questions.yaml", "piqa"], "count": 1},
    }
    write_config(folder.path / "study.yaml", study_config(**choices))
    done = online(folder, hub, *folder.command("fetch"))
    assert done.returncode == 0, done.stdout + done.stderr
    asked, hub.asked[:] = list(hub.asked), []
    return folder, asked


def online(folder: StudyFolder, hub: Hub, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that may reach the hub, with a cache of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
    environment |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder.path / "cache")}
    return subprocess.run(
        command, cwd=folder.path, capture_output=True, text=True, check=False, env=environment
    )


def test_models_and_data_come_from_the_hub_once_and_each_is_named_by_its_commit(
    hub: Hub, fetched: tuple[StudyFolder, list[str]]
) -> None:
    folder, asked = fetched
    there = json.loads((folder.path / "results" / "fetched.json").read_text())
    assert [model["commit"] for model in there["models"]] == [COMMIT]
    assert there["tasks"] == {"questions.yaml": {"questions": QUESTIONS}, "piqa": {"piqa": PIQA}}
    loads = [line for line in asked if line.startswith("GET") and "/resolve/" in line]
    assert len(loads) == len({*loads}), "nothing is loaded twice"
    assert sum("model.safetensors" in line for line in loads) == 1
    assert not any("model.bin" in line for line in loads)

    hub.asked.clear()
    files = ("--study", "results/jobs/study.json", "--out", "results/again.json")
    done = online(folder, hub, sys.executable, "-c", EDITCORE, "fetch", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.asked, "the revisions are checked again"
    again = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert again == [], "and nothing is loaded again"
    assert json.loads((folder.path / "results" / "again.json").read_text()) == there


LOADED = """
from editcore.evaluation.lm_eval_adapter import Suite
suite = Suite.load(("questions.yaml", "piqa"), limit=None)
print({name: len(tasks[0].instances) for name, tasks in suite.tasks.items()}, suite.versions)
"""


def test_afterwards_jobs_do_not_ask_the_hub(
    hub: Hub, fetched: tuple[StudyFolder, list[str]]
) -> None:
    folder, _ = fetched
    hub.asked.clear()
    prefixes = "results/artefacts/model=small/prefixes.json"
    done = online(folder, hub, *folder.command(prefixes))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder.path / prefixes).is_file()
    done = online(folder, hub, "env", "HF_HUB_OFFLINE=1", sys.executable, "-c", LOADED)
    assert done.returncode == 0, done.stderr
    assert "{'questions': 6, 'piqa': 8}" in done.stdout
    assert f"'data of questions': '{QUESTIONS}'" in done.stdout
    assert f"'data of piqa': '{PIQA}'" in done.stdout
    assert hub.asked == []
