"""The data sets that the field uses go through a whole study, with and without a subject."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.data_sets import COLUMNS, PIECES, RECORDS, TABLE
from tests.workflow.conftest import StudyFolder

NAMED = {"qaedit", "wikibigedit", "knowedit", "knowedit-biographies", "mquake", "rippleedits",
         "akew", "hallueditbench", "akew-pieces", "table"}  # fmt: skip
ALL = {**RECORDS, **PIECES}
DATASETS = {
    **{name: {"path": f"data/{name}.json"} for name in RECORDS},
    **{name: {"path": f"data/{name}.json", "format": name} for name in PIECES},
    "table": {"path": "data/table.csv", "columns": COLUMNS},
}
HALVES = [[*DATASETS][::2], [*DATASETS][1::2]]


@pytest.mark.parametrize("names", HALVES, ids=["one half", "the other"])
def test_every_data_set_is_edited_and_reported(
    names: list[str], study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    for name, record in ALL.items():
        records = [record, {**record, "case_id": 1}, "no record"]
        file = folder.path / "data" / f"{name}.json"
        file.write_text(json.dumps(records), encoding="utf-8")
    table = TABLE + TABLE.split("\n", 1)[1] + "no,fact\n"
    (folder.path / "data" / "table.csv").write_text(table, encoding="utf-8")
    folder.configure(
        models={"gpt2": {"source": "models/gpt2"}},
        editors={
            "rome": {"options": {"layer": 1, "steps": 2, "second_moment": False}},
            "ft": {"options": {"layer": 1, "steps": 2}},
        },
        datasets={name: DATASETS[name] for name in names},
        mechanism=None,
        forecasts=False,
        answers={"tokens": 3, "prompts": 1},
    )
    status, output = folder.snakemake()
    assert status == 0, output
    cases = pl.read_parquet(folder.path / "results" / "summary" / "cases.parquet")
    assert cases.height == 2 * 3 * len(names)
    made = cases.filter(status="ok")
    by_editor = {editor: set(some["dataset"]) for (editor,), some in made.group_by("editor")}
    assert by_editor == {"rome": NAMED & {*names}, "ft": {*names}}
    assert made.group_by("editor", "dataset").len()["len"].unique().to_list() == [2]
    broken = cases.filter(pl.col("case_id") < 0)
    assert broken["status"].str.contains("^record 2: an object|^line 6: 2 values for 9").all()
    refused = cases.filter(pl.col("status") != "ok", pl.col("case_id") >= 0)
    assert refused["status"].str.contains("names no subject").all()
    answers = pl.concat(
        map(pl.read_parquet, (folder.path / "results" / "answers").rglob("*.parquet"))
    )
    keys = ["editor", "dataset", "case_id"]
    asked = answers.filter(measure="efficacy", context="instruction").select(keys)
    assert asked.sort(keys).equals(made.select(keys).sort(keys))
    scored = pl.read_parquet(folder.path / "results" / "summary" / "answers.parquet")
    assert scored["n"].sum() == len(answers)
    if "mquake" in names:
        consequences = answers.filter(dataset="mquake", measure="portability")
        assert {"multi-hop"} <= {*consequences["kind"]}
    page = (folder.path / "results" / "report.html").read_text(encoding="utf-8")
    assert "What edited models answer" in page
