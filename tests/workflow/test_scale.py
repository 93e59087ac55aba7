"""Both papers in full are planned quickly, as few jobs, on a machine without any model."""

import json
import re
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import read_yaml
from editcore.sources.web_file import WebFile
from tests.studies import TEXTS, record, write_config, write_json
from tests.workflow.conftest import ROOT, StudyFolder

CASES = 21_919
HARD = 107
MODELS = {"gpt2-xl", "gpt-j-6b", "llama2-7b"}
EDITORS = {"rome", "c-rome", "memit", "mend", "ft"}
LARGEST_STUDY = 2_000
# In multiples of the time that Snakemake takes to load, since machines differ; it was 3.3 to 5.
LONGEST_DRY_RUN = 7
LOADS = 2


def planned(folder: Path, stage: str) -> list[dict[str, Any]]:
    """The jobs of a stage, as written by the dry run."""
    files = (folder / "results" / "jobs" / stage).rglob("*.json")
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def group(job: dict[str, Any]) -> tuple[str, str, str]:
    """Model, editor and data set of a job."""
    return job["model"]["name"], job["editor"]["label"], job["dataset"]["name"]


def counted(jobs: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """The number of cases of each group, over all jobs."""
    cases: Counter[tuple[str, str, str]] = Counter()
    for job in jobs:
        cases[group(job)] += len(job["case_ids"])
    return cases


def processor_seconds() -> float:
    """Processor time of the commands so far; unlike time, the same beside other processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_both_papers_are_few_jobs_and_a_quick_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "cache"))
    study = read_yaml(ROOT / "config" / "paper.yaml")
    data = tmp_path / "data"
    facts = [record(case, f"Subject{case}") for case in range(CASES)]
    write_json(WebFile(study["datasets"]["counterfact"]["url"]).place, facts)
    for name in ("hard", "normal"):
        write_json(data / f"{name}.json", facts[:HARD])
    write_json(data / "counterfact-train.json", facts[:2000])
    # The published file, whose hash the study requires, is not in the repository.
    study["perplexity"] = {"path": str(write_json(data / "texts.json", TEXTS * 13)), "texts": 50}
    write_json(data / "wikipedia.json", TEXTS)
    config = write_config(tmp_path / "paper.yaml", study)
    started = processor_seconds()
    for _ in range(LOADS):
        StudyFolder(tmp_path).snakemake("--version", config=config)
    loaded = processor_seconds()
    status, output = StudyFolder(tmp_path).snakemake("--dry-run", "--quiet", "rules", config=config)
    planning = processor_seconds() - loaded
    assert status == 0, output[-3000:]
    jobs = {r: int(n) for r, n in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}
    assert jobs["total"] < LARGEST_STUDY, jobs
    assert {"values", "moments", "train", "downstream", "mechanism"} <= {*jobs}, jobs
    edits = planned(tmp_path, "edits")
    assert len(edits) == jobs["edit"]
    assert {job["model"]["name"] for job in edits} == MODELS
    assert {job["editor"]["label"] for job in edits} == EDITORS
    everything = Counter({(m, e, "counterfact"): CASES for m in MODELS for e in EDITORS})
    everything |= {(m, e, s): HARD for m in MODELS for e in EDITORS for s in ("hard", "normal")}
    assert counted(edits) == everything
    assert len({(*group(job), case) for job in edits for case in job["case_ids"]}) == (
        everything.total()
    )
    assert counted(planned(tmp_path, "sequences")) == Counter(
        {key: size for key, size in everything.items() if key[2] != "counterfact"}
    )
    for stage in ("downstream", "mechanism"):
        assert {job["model"]["name"] for job in planned(tmp_path, stage)} == MODELS
    assert planning < LONGEST_DRY_RUN * (loaded - started) / LOADS
