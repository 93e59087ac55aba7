"""The study of a real model, with a handful of its cases, from the wheel to the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from editcore.cli import main
from editcore.sources.wheel_file import wheel_file
from tests.smollm2 import SHA256, fetched
from tests.workflow.conftest import ROOT, StudyFolder

CASES = {"hard": 4, "early": 1, "late": 2}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The summary of `config/smollm2.yaml` with few cases, texts and prefixes, and no tasks."""
    source = fetched()
    folder = StudyFolder(tmp_path_factory.mktemp("smollm2"))
    raw: dict[str, Any] = yaml.safe_load((ROOT / "config" / "smollm2.yaml").read_text())
    model = raw["models"]["smollm2"]
    assert (model["source"], model["sha256"]) == (source, SHA256)
    del raw["downstream"]
    for name, dataset in raw["datasets"].items():
        dataset["limit"] = CASES[name]
    raw |= {
        "perplexity": raw["perplexity"] | {"texts": 3},
        "prefixes": raw["prefixes"] | {"lengths": [[10, 4]]},
        "layers": {"cases": 2},
    }
    (folder.path / "study.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    status, printed = folder.snakemake("--quiet")
    assert status == 0, printed
    assert (folder.path / "results" / "report.html").stat().st_size > 10_000
    return folder.path / "results" / "summary"


def worst(summary: Path) -> Mapping[tuple[str, str], float]:
    """The greatest perplexity ratio of each editor and data set."""
    cases = pl.read_parquet(summary / "cases.parquet")
    assert cases["status"].unique().to_list() == ["ok"]
    greatest = cases.group_by("editor", "dataset").agg(pl.col("perplexity_ratio").max())
    return {(editor, dataset): ratio for editor, dataset, ratio in greatest.iter_rows()}


def test_rome_s_edits_of_hard_cases_alone_collapse_it(summary: Path) -> None:
    ratios = worst(summary)
    assert ratios["rome", "hard"] > 100
    others = {group: ratio for group, ratio in ratios.items() if group != ("rome", "hard")}
    assert len(others) == 5
    assert max(others.values()) < 1.3, others


def test_the_keys_of_hard_cases_are_unlike_their_means_at_the_edited_layer(summary: Path) -> None:
    keys = pl.read_parquet(summary / "layers.parquet").filter(layer=7)
    shares = dict(keys.group_by("dataset").agg(pl.col("denominator_share").median()).iter_rows())
    assert abs(shares["hard"]) < 0.2 * shares["late"]


def test_every_row_names_the_precision_on_disk(summary: Path) -> None:
    stored = pl.read_parquet(summary / "cases.parquet")["stored_as"].unique().to_list()
    assert wheel_file(fetched()) is not None
    assert stored == ["Q4_1"]


def planned(study: str) -> str:
    """The plan of one of our studies of the model."""
    fetched()
    result = CliRunner().invoke(main, ["plan", str(ROOT / "config" / study), "--check"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_full_study_plans_every_editor_on_at_least_180_cases() -> None:
    plan = planned("smollm2-full.yaml")
    for editor in ("rome", "c-rome", "p-rome", "rome-with-c", "c-rome-with-c", "memit", "ft"):
        assert f"smollm2 / {editor} / hard: 60 cases" in plan
        assert f"smollm2 / {editor} / normal: 120 cases" in plan
    assert "3 sequences of 60 edits" in plan


def test_the_study_of_answers_asks_sixty_facts_of_six_editors() -> None:
    plan = planned("smollm2-answers.yaml")
    for editor in ("rome", "c-rome", "ft", "ft-unconstrained", "locft", "ultraedit"):
        assert f"smollm2 / {editor} / real: 60 cases" in plan


def test_the_study_of_the_chat_edits_the_same_facts_both_ways() -> None:
    plan = planned("smollm2-chat.yaml")
    for model in ("plain", "chat"):
        for editor in ("rome", "ft-unconstrained"):
            assert f"{model} / {editor} / facts: 20 cases" in plan
