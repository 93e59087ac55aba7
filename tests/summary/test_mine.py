"""Mined cases are read as the requests they were, and can be edited in another study."""

import json
import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from editcore.cli import main
from editcore.config.study import parse
from editcore.datasets.data_file import DataFile
from editcore.datasets.readers import read_requests
from editcore.datasets.writers import flat_record
from editcore.errors import DataError
from editcore.planning.planner import plan
from editcore.records.schemas import CASES
from editcore.records.tables import write_table
from editcore.summary.mine import write_mined
from tests.rows import edit_row, judged_rows
from tests.studies import plain_registry, study_config

FACTS = Path("data/facts.json")
DATA = DataFile(str(FACTS))


@pytest.fixture
def cases(study_folder: Path) -> pl.DataFrame:
    """Four edits of the test study's facts, two of which collapse the model."""
    perplexities = {10: 4000.0, 11: 4.1, 12: math.inf, 13: 4.2}
    rows = [edit_row(case, value, dataset="facts") for case, value in perplexities.items()]
    return judged_rows(rows)


def test_hard_cases_and_as_many_normal_ones_come_back_as_they_were(cases: pl.DataFrame) -> None:
    write_mined(cases, {"facts": DATA}, Path("mined"), 0, "cases.parquet")
    known = {request.case_id: request for request in read_requests(FACTS)}
    ids = {}
    for kind in ("hard", "normal"):
        requests = read_requests(Path("mined") / f"small-alpha-{kind}.json")
        ids[kind] = [request.case_id for request in requests]
        for request in requests:
            wanted = known[request.case_id]
            for name in ("prompt", "subject", "target_new", "target_true", "paraphrases"):
                assert getattr(request, name) == getattr(wanted, name)
            assert [p.prompt for p in request.neighbours] == [p.prompt for p in wanted.neighbours]
    assert ids["hard"] == [10, 12]
    assert sorted(ids["normal"]) == [11, 13]


def test_each_record_names_its_origin(cases: pl.DataFrame) -> None:
    write_mined(cases, {"facts": DATA}, Path("mined"), 0, "cases.parquet")
    first, second = json.loads(Path("mined/small-alpha-hard.json").read_text())
    assert first["mined"]["from"] == "data/facts.json"
    assert (first["mined"]["model"], first["mined"]["perplexity"]) == ("small", 4000.0)
    assert second["mined"]["perplexity"] == "inf"


def test_a_mined_file_is_planned_as_a_study(cases: pl.DataFrame) -> None:
    write_table(Path("cases.parquet"), cases, CASES, {})
    arguments = ["--cases", "cases.parquet", "--data", "facts=data/facts.json", "--out", "mined"]
    done = CliRunner().invoke(main, ["mine", *arguments])
    assert done.exit_code == 0, done.output
    assert "small-alpha-hard.json: 2 cases" in done.output
    datasets = {kind: {"path": f"mined/small-alpha-{kind}.json"} for kind in ("hard", "normal")}
    study = plan(parse(study_config(datasets=datasets), "s"), "s", plain_registry())
    assert study.sizes == {("tiny", "plain", "hard"): 2, ("tiny", "plain", "normal"): 2}


def test_repeated_case_ids_of_two_data_sets_are_renumbered(cases: pl.DataFrame) -> None:
    both = pl.concat([cases, cases.with_columns(dataset=pl.lit("again"))])
    write_mined(both, {"facts": DATA, "again": DATA}, Path("mined"), 0, "cases.parquet")
    records = json.loads(Path("mined/small-alpha-hard.json").read_text())
    assert [record["case_id"] for record in records] == [0, 1, 2, 3]
    assert [record["mined"]["case_id"] for record in records] == [10, 12, 10, 12]


def test_a_sweep_without_collapse_has_nothing_to_mine(cases: pl.DataFrame) -> None:
    mild = cases.with_columns(collapsed=pl.lit(False))
    with pytest.raises(DataError, match="no edit"):
        write_mined(mild, {"facts": DATA}, Path("mined"), 0, "cases.parquet")


def test_a_file_that_lost_a_case_is_named(cases: pl.DataFrame) -> None:
    FACTS.write_text(json.dumps(json.loads(FACTS.read_text())[1:]))
    with pytest.raises(DataError, match=r"facts\.json has no case 10"):
        write_mined(cases, {"facts": DATA}, Path("mined"), 0, "cases.parquet")


def test_a_case_of_several_facts_has_no_record(cases: pl.DataFrame) -> None:
    several = [replace(each, further=(each,)) for each in read_requests(FACTS)]
    FACTS.write_text(json.dumps([flat_record(each) for each in several]))
    with pytest.raises(DataError, match=r"facts\.json: case 1\d has 2 facts.*leave this data set"):
        write_mined(cases, {"facts": DATA}, Path("mined"), 0, "cases.parquet")
