"""Paths that are impossible, or that the workflow cannot use, are refused while planning."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from editcore.cli import main
from editcore.config.study import parse
from editcore.datasets.bundled import data_file, model_folder
from editcore.errors import DataError, EditcoreError
from editcore.planning.planner import plan
from editcore.planning.study import listed_config, listed_edits
from tests.studies import model_files, plain_registry, study_config, write_data

UNFIT = ("~nosuchuser/x", "x" * 5000, "a\0b", f"./{'n' * 300}")


def planned(**sections: Any) -> None:
    plan(parse(study_config(**sections), "study.yaml"), "study.yaml", plain_registry())


@pytest.mark.parametrize("path", UNFIT)
def test_an_impossible_file_name_is_one_short_error(path: str) -> None:
    for find in (model_folder, data_file):
        with pytest.raises(DataError, match="is not a valid path") as caught:
            find(path)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("path", [*UNFIT, ".", "", "/"])
@pytest.mark.parametrize(
    "section",
    [
        lambda path: {"models": {"tiny": {"source": path}}},
        lambda path: {"datasets": {"facts": {"path": path}}},
        lambda path: {"perplexity": {"path": path, "texts": 2}},
        lambda path: {"moments": {"path": path}},
        lambda path: {"models": {"tiny": {"source": "model", "published_moments": path}}},
    ],
)
def test_every_path_of_a_study_is_checked(study_folder: Path, section: Any, path: str) -> None:
    with pytest.raises(EditcoreError, match=r"^study\.yaml: "):
        planned(**section(path))


def test_a_path_with_braces_is_refused_while_planning(study_folder: Path) -> None:
    braced = study_folder / "{x}"
    model_files(braced / "model")
    write_data(braced)
    for sections in (
        {"models": {"tiny": {"source": "{x}/model"}}},
        {"datasets": {"facts": {"path": "{x}/data/facts.json"}}},
        {"perplexity": {"path": "{x}/data/texts.json", "texts": 2}},
        {"moments": {"path": "{x}/data/texts.json"}},
    ):
        with pytest.raises(DataError, match="cannot use paths with braces"):
            planned(**sections)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b"\xff",
        b"[" * 10_000,
        b'{"edits": [], "config": 3}',
        b'{"edits": 3, "config": {}}',
        b'{"edits": [3], "config": {}}',
        b'{"edits": {"a": 1}, "sequences": "x", "config": []}',
    ],
)
def test_a_manifest_of_another_shape_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(content)
    for read in (listed_edits, listed_config):
        with pytest.raises(EditcoreError, match=r"study\.json: this is not a valid study manifest"):
            read(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"lengths": [[0, 2]]},
        {"lengths": [[3, -1]]},
        {"lengths": [[10**9, 1]]},
        {"seeds": []},
        {"seed": -1},
        {"seed": 2**70},
        {"model": {"name": "m", "source": "model", "device": "toaster"}},
    ],
)
def test_a_job_of_another_shape_is_refused_before_it_starts(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    job = {
        "model": {"name": "m", "source": "model"},
        "lengths": [[3, 2]],
        "seeds": ["The"],
        "seed": 0,
    }
    (tmp_path / "job.json").write_text(json.dumps(job | changed))
    arguments = ["prefixes", "--job", str(tmp_path / "job.json"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.exception
    assert f"job.json: this is not a valid job file: {next(iter(changed))}" in result.output
    assert not (tmp_path / "out").exists()
