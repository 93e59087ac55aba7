"""Probes of an edit's depth go through a whole study, with a third party's format and metric."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from editcore.records.metric_columns import PROBE_COLUMNS
from tests.studies import SUBJECTS, record
from tests.workflow.conftest import StudyFolder
from tests.workflow.test_changes import install

PLUGIN = '''"""Facts with consequences, and a metric that doubts the fact."""
from editcore import DatasetFormatInfo, EditRequest, MetricInfo, Probe, hookimpl

EDITCORE_HOOKSPEC = 2

@hookimpl
def editcore_datasets():
    yield DatasetFormatInfo("followed", "Facts with consequences.", "", "doubts:read", ("follows",))

@hookimpl
def editcore_metrics():
    where = "doubts:doubt", ("doubted",), "doubts:questions"
    yield MetricInfo("doubt", "Efficacy after a doubt.", "", *where)

def read(record, index):
    return EditRequest(
        record["case_id"], "{} is made by", record["subject"], "Osdor", "Elro",
        neighbours=(Probe("The sea is", "quiet"),),
        consequences=tuple(Probe(p, t, kind=kind) for p, t, kind in record["follows"]),
    )

def questions(case):
    text = case.request.in_context("I doubt that. {}", case.request.text)
    return case.scored(text, case.request.target_new)

def doubt(case):
    (asked,) = questions(case.questions)
    return {"doubted": case.after[asked].log_probability}
'''


def records() -> list[dict[str, Any]]:
    """Two facts of which one has a consequence of several steps."""
    follows = [["Its maker is", "Osdor", "alias"]]
    hop = ["The home of its maker is", "Tavel", "2-hop"]
    first, second = (record(10 + number, subject) for number, subject in enumerate(SUBJECTS[:2]))
    return [first | {"follows": [*follows, hop]}, second | {"follows": follows}]


def test_probes_are_measured_summarised_and_reported(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.plugins.mkdir(exist_ok=True)
    (folder.plugins / "doubts.py").write_text(PLUGIN, encoding="utf-8")
    install(folder.plugins, "doubts", "1.0")
    (folder.path / "data" / "followed.json").write_text(json.dumps(records()), encoding="utf-8")
    folder.configure(
        models={"gpt2": {"source": "models/gpt2"}},
        editors={"rome": {"options": {"layer": 1, "steps": 2, "second_moment": False}}},
        datasets={"followed": {"path": "data/followed.json", "format": "followed"}},
        metrics=["accuracy", "superficial", "overfit", "specificity", "portability", "doubt"],
        mechanism=None,
        forecasts=False,
    )
    status, output = folder.snakemake()
    assert status == 0, output
    results = folder.path / "results"
    cases = pl.read_parquet(results / "summary" / "cases.parquet")
    assert cases["status"].to_list() == ["ok", "ok"]
    counts = {name: cases[name].count() for name in PROBE_COLUMNS}
    assert {name for name, n in counts.items() if n < 2} == {
        *("multi_hop", "reversed", "overfit_consequences", "overfit_consequences_base")
    }
    assert counts["multi_hop"] == counts["overfit_consequences"] == 1
    assert counts["reversed"] == 0
    assert cases["doubted"].null_count() == 0
    (verdict,) = pl.read_parquet(results / "summary" / "verdicts.parquet").to_dicts()
    for name in (*PROBE_COLUMNS, "doubted"):
        assert verdict[f"{name}_n"] == cases[name].count()
        assert verdict[f"{name}_mean"] == pytest.approx(cases[name].mean())
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "How deep the edits go" in page and "doubted" in page
    (shard,) = (results / "edits").rglob("*.parquet")
    assert {*PROBE_COLUMNS} <= {*pl.read_parquet_schema(shard)}
