"""`editcore plan --check` answers yes or no, and says what the study takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.planning.feasibility import answer as module
from editcore.planning.feasibility.machine import free_disk, free_memory
from editcore.planning.feasibility.seconds import SHARES, job_seconds
from editcore.planning.feasibility.work import JobWork, study_work
from tests.planning.conftest import Planner
from tests.studies import study_config, write_config, write_json

SIZES = {"model_type": "gpt2", "n_layer": 3, "n_embd": 64, "vocab_size": 100}


@pytest.fixture
def sized(place: Path) -> Path:
    """The study's folder, whose model's configuration has all sizes."""
    write_json(place / "model" / "config.json", SIZES)
    return place


def check(place: Path, *arguments: str, **sections: Any) -> Result:
    config = study_config(editors={"noop": {}}, **sections)
    write_config(place / "study.yaml", config)
    return CliRunner().invoke(main, ["plan", "study.yaml", "--check", *arguments])


def test_yes_comes_first_and_nothing_is_written(sized: Path) -> None:
    result = check(sized)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Yes: this study can run here"
    assert [line.split(":")[0] for line in lines[1:5]] == [
        "  time",
        "  memory",
        "  disk",
        "  device",
    ]
    assert "right within a factor of 2" in lines[1]
    assert "tiny / noop / facts: 4 cases" in lines
    assert not (sized / "results").exists()


def test_json_has_the_same_numbers(sized: Path) -> None:
    result = check(sized, "--json", "--cores", "3")
    found = json.loads(result.stdout)
    assert found["can_run"] is True and found["problems"] == []
    assert found["cores"] == 3 and found["seconds"] > 0
    assert 4e8 < found["job_memory"] < 2e9


def test_json_is_only_for_the_check(sized: Path) -> None:
    result = CliRunner().invoke(main, ["plan", "study.yaml", "--json"])
    assert result.exit_code == 2 and "--json is for --check" in result.output


def test_too_little_memory_is_a_no_with_a_remedy(
    sized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 2 * 10**9)
    result = check(sized, "--cores", "8")
    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("No: this study cannot run here\n")
    assert "8 jobs at once need about " in result.stdout and "give --cores 2" in result.stdout
    assert check(sized, "--cores", "2").exit_code == 0
    monkeypatch.setattr(module, "free_memory", lambda: 10**8)
    assert "use a machine with more memory" in check(sized).stdout


def test_too_little_disk_is_a_no(sized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_disk", lambda folder: 1000)
    result = check(sized)
    assert result.exit_code == 3 and "1 kB are free" in result.stdout


def test_a_model_of_unknown_size_is_not_estimated(place: Path) -> None:
    result = check(place)
    assert result.exit_code == 0, result.output
    assert "  time: not known; " in result.stdout


def test_more_cases_steps_and_texts_are_more_work(sized: Path, planned: Planner) -> None:
    def work(**sections: Any) -> dict[str, float]:
        return {job.rule: job.operations for job in study_work(planned(**sections))}

    base, facts = work(), {"path": "data/facts.json"}
    half = work(datasets={"facts": {**facts, "limit": 2}})
    assert sum(job.operations for job in study_work(planned()) if job.rule == "edit") == (
        pytest.approx(2 * half["edit"])
    )
    texts = work(perplexity={"path": "data/texts.json", "texts": 4})
    assert texts["rounding"] > base["rounding"] and texts["edit"] > base["edit"]
    tokens = work(moments={"path": "data/texts.json", "tokens": 1000})
    assert tokens["moments"] == 2 * base["moments"]


def test_every_rule_that_is_counted_has_a_speed(sized: Path, planned: Planner) -> None:
    whole = planned(sequences={}, layers={}, survival={"cases": 1})
    rules = {job.rule for job in study_work(whole)}
    assert {"prefixes", "rounding", "moments", "edit", "sequence", "layers", "survive"} <= rules
    assert rules <= SHARES.keys()


def test_seconds_follow_the_speed() -> None:
    job = JobWork("edit", "tiny", False, 1e12)
    fast, slow = (job_seconds(job, 0, speed) for speed in (2e11, 1e11))
    start = job_seconds(JobWork("edit", "tiny", False, 0), 0, 1e11)
    assert slow - start == pytest.approx(2 * (fast - start))


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    limit.write_text("max\n")
    assert free_memory(meminfo, (limit,)) == 4_096_000
    limit.write_text("1000000\n")
    assert free_memory(meminfo, (limit,)) == 1_000_000
    assert free_memory(tmp_path / "absent", ()) is None
    assert free_disk(tmp_path / "not" / "yet" / "there") > 0
