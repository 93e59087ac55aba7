"""A study with `precision: bfloat16` runs through every stage, with every shipped editor."""

import json
from pathlib import Path

import polars as pl
from click.testing import CliRunner

from editcore.cli import main
from editcore.testing.models import tiny_facts
from tests.studies import write_json
from tests.workflow.conftest import StudyFolder

LAYER = {"layer": 1}
EDITORS = {
    "rome": {"options": LAYER | {"steps": 2}},
    "c-rome": {"options": LAYER | {"steps": 2}},
    "p-rome": {"options": LAYER | {"steps": 2}},
    "memit": {"options": {"layers": [1, 2], "steps": 2}},
    "ft": {"options": LAYER | {"steps": 2}},
    "mend": {
        "options": {
            "layers": [1, 2],
            "data": "data/many.json",
            "exclude": [],
            "steps": 4,
            "batch": 2,
            "validate_every": 2,
            "rank": 4,
        }
    },
}


def test_every_stage_runs_in_bfloat16(study_folder: StudyFolder, tmp_path: Path) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(
        models={"gpt2": {"source": "models/gpt2", "precision": "bfloat16"}},
        editors=EDITORS,
        sequences={"every": 1, "checks": [1], "tasks": ["world_cloze"], "task_items": 4},
        downstream={"tasks": ["world_cloze"], "count": 2, "top": 1, "limit": 4},
    )
    write_json(folder.path / "data" / "many.json", tiny_facts())
    status, output = folder.snakemake()
    assert status == 0, output
    summary = folder.path / "results" / "summary"
    cases = pl.read_parquet(summary / "cases.parquet")
    assert set(cases["editor"]) == set(EDITORS)
    assert set(cases["status"]) == {"ok"}, cases["status"].to_list()
    assert set(cases["precision"]) == {"bfloat16"}
    assert cases["perplexity"].is_finite().all()
    sequences = pl.read_parquet(summary / "sequences.parquet")
    assert set(sequences["editor"]) == set(EDITORS)
    assert set(sequences["status"]) <= {"ok", "stopped"}, sequences["status"].to_list()
    updates = pl.read_parquet(summary / "mechanism-updates.parquet")
    assert updates.height > 0


def test_a_check_in_bfloat16_finds_nearly_the_perplexity_of_float32(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    found = {}
    for precision in ("float32", "bfloat16"):
        folder.configure(
            models={"gpt2": {"source": str(folder.path / "models/gpt2"), "precision": precision}},
            datasets={"facts": {"path": str(folder.path / "data/facts.json")}},
            perplexity={"path": str(folder.path / "data/texts.json"), "texts": 2},
            moments={"path": str(folder.path / "data/texts.json"), "tokens": 500},
            mechanism=None,
        )
        fact = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "Osdor")
        place = ("--config", str(folder.path / "study.yaml"), "--cache", str(folder.path / "cache"))
        command = ["check", "--model", "gpt2", "--editor", "rome", *fact, *place, "--json"]
        done = CliRunner().invoke(main, command)
        assert done.exit_code in (0, 3), done.output
        found[precision] = json.loads(done.stdout)
    exact, rounded = found["float32"]["perplexity"], found["bfloat16"]["perplexity"]
    assert found["bfloat16"]["precision"] == "bfloat16"
    assert abs(rounded / exact - 1) < 0.05
    assert rounded != exact
