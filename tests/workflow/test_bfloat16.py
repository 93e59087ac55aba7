"""A study with `precision: bfloat16` runs through every stage, with every shipped editor."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from editcore.cli import main
from editcore.config.study import load
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.planning.study import Study
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
    "noop": {},
}


def command_lines(study: Study) -> Iterator[tuple[object, ...]]:
    """The command lines of the workflow's rules, in an order that satisfies their inputs."""
    summary, listed = paths.RESULTS / "summary", ("--study", paths.STUDY_FILE)
    cases = ("--cases", summary / "cases.parquet")
    for model in study.prefixes:
        yield "prefixes", *job(paths.prefixes_job(model)), paths.prefixes(model)
    for model in study.rounding:
        yield "rounding", *job(paths.rounding_job(model)), paths.rounding(model)
    for artefact in study.moments:
        yield "moments", *job(paths.moments_job(*artefact)), paths.moments(*artefact)
    for artefact in study.training:
        yield "train", *job(paths.train_job(*artefact)), paths.trained(*artefact)
    for value in study.values:
        yield "values", *job(paths.values_job(*value)), paths.values(*value)
    for shard in study.edits:
        deltas = ("--deltas", paths.deltas(*shard))
        yield "edit", *deltas, *job(paths.edits_job(*shard)), paths.edits(*shard)
    for key in study.sequences:
        rows = paths.sequences(*key)
        deltas = ("--deltas", rows.with_suffix(".safetensors"))
        yield "sequence", *deltas, *job(paths.sequences_job(*key)), rows
    yield "summarise", *listed, "--out", summary
    for what in ("sequences", "rounding"):
        yield "summarise", "--what", what, *listed, "--out", summary
    for model in study.downstream:
        yield "downstream", *job(paths.downstream_job(model)), paths.downstream(model)
    yield "correlate", *listed, *cases, "--out", summary
    for model in study.mechanism:
        yield "mechanism", *job(paths.mechanism_job(model)), paths.mechanism(model)
    yield "mechanism-tables", *study.mechanism_folders, *cases, "--out", summary
    figures = ("--figures", paths.RESULTS / "figures")
    yield "report", "--summary", summary, *listed, *figures, "--out", "results/report.html"


def job(path: Path) -> tuple[object, ...]:
    return "--job", path, "--out"


def test_every_stage_runs_in_bfloat16(
    study_folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the workflow's commands, in one process, which loads torch once."""
    folder = study_folder.copy(tmp_path)
    folder.configure(
        models={"gpt2": {"source": "models/gpt2", "precision": "bfloat16"}},
        editors=EDITORS,
        sequences={"every": 1, "checks": [1], "tasks": ["world_cloze"], "task_items": 4},
        downstream={"tasks": ["world_cloze"], "count": 2, "top": 1, "limit": 4},
    )
    write_json(folder.path / "data" / "many.json", tiny_facts())
    monkeypatch.chdir(folder.path)
    study = plan(load(folder.path / "study.yaml"), "study.yaml")
    study.write()
    for command in command_lines(study):
        done = CliRunner().invoke(main, list(map(str, command)))
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert all(Path(table).exists() for table in study.tables)
    summary = paths.RESULTS / "summary"
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
        found[precision] = json.loads(done.stdout)
        status = {"sound": 0, "damaged": 3, "collapsed": 3, "without effect": 4}
        assert done.exit_code == status[found[precision]["verdict"]], done.output
    exact, rounded = found["float32"]["perplexity"], found["bfloat16"]["perplexity"]
    assert found["bfloat16"]["precision"] == "bfloat16"
    assert abs(rounded / exact - 1) < 0.05
    assert rounded != exact
