"""Task files, whatever they contain, name their files or are refused."""

from pathlib import Path

import pytest

from editcore.datasets.task_files import files
from editcore.errors import ConfigError


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.jsonl").write_text("")
    return tmp_path / "task.yaml"


def test_a_group_names_the_files_of_its_tasks(task: Path) -> None:
    task.write_text("{task: one, dataset_kwargs: {data_files: {test: items.jsonl}}}")
    group = task.with_name("group.yaml")
    group.write_text("{group: both, task: [task.yaml, {task: task.yaml, limit: 3}]}")
    assert files("group.yaml") == ["group.yaml", "task.yaml", "items.jsonl"]


@pytest.mark.parametrize("kwargs", ["text", "3", "[1]", "{}", "{data_files: items.jsonl}"])
def test_a_task_without_local_data_is_its_own_file_alone(task: Path, kwargs: str) -> None:
    task.write_text(f"{{task: one, dataset_kwargs: {kwargs}}}")
    assert files("task.yaml") == ["task.yaml"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{task: one, dataset_kwargs: {data_files: {test: 7}}}", "there is no data file 7"),
        ("{group: all, task: [7]}", "7 is not the name of a task"),
        ("{group: all, task: [{task: [x]}]}", "is not the name of a task"),
        ("{group: all, task: [task.yaml]}", "this group of tasks contains itself"),
    ],
)
def test_a_task_that_names_no_files_is_refused(task: Path, content: str, error: str) -> None:
    task.write_text(content)
    with pytest.raises(ConfigError, match=rf"^task\.yaml: .*{error}"):
        files("task.yaml")
