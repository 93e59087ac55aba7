"""Summaries of a finished study refuse tables that are not of the planned rows, and name the rows.

All is done through the command line.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open

from editcore.cli import main
from editcore.records.mechanism_schemas import UPDATES
from editcore.records.schemas import DOWNSTREAM, EDITS, SEQUENCES
from editcore.records.tables import read_provenance, read_table, write_table
from tests.fuzzing import world
from tests.fuzzing.hunt import small_study
from tests.studies import write_config

STUDY = ("--study", world.STUDY_FILE)
OUT = ("--out", "out")
EDITED = Path("results/edits/model=tiny/editor=rome/dataset=facts/shard-000.parquet")
STEPS = Path("results/sequences/model=tiny/editor=rome/dataset=facts/seed-0.parquet")
SCORES = Path("results/downstream/model=tiny/scores.parquet")
KEYS = Path("results/mechanism/model=tiny/updates.parquet")
SCHEMAS: Mapping[Path, pa.Schema] = MappingProxyType(
    {EDITED: EDITS, STEPS: SEQUENCES, SCORES: DOWNSTREAM, KEYS: UPDATES}
)
SUMMARIES: Mapping[Path, tuple[str, ...]] = MappingProxyType(
    {
        EDITED: ("summarise", *STUDY, *OUT),
        STEPS: ("summarise", "--what", "sequences", *STUDY, *OUT),
        SCORES: ("correlate", *STUDY, *OUT),
        KEYS: ("mechanism-tables", str(KEYS.parent), "--cases", world.CASES, *OUT),
    }
)
# The same without a study, whose plan is then that of the tables' own jobs.
ALONE = MappingProxyType(
    {
        EDITED: ("summarise", str(EDITED), *OUT),
        STEPS: ("summarise", "--what", "sequences", str(STEPS), *OUT),
        SCORES: ("correlate", str(SCORES), *OUT),
        KEYS: SUMMARIES[KEYS],
    }
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("study")
    with small_study(folder):
        yield folder


@pytest.fixture
def study(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the finished study, in the working directory."""
    shutil.copytree(finished, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(*arguments: str) -> str:
    """What a command says that is refused, and writes nothing."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert not Path("out").exists()
    return " ".join(result.output.split())


def by_another_program(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the rows of a table; all its metadata stay."""
    pq.write_table(change(pq.read_table(path)), path)


def by_editcore(path: Path, rows: pl.DataFrame, **changes: Any) -> None:
    """Write a table as a job that writes such rows would."""
    write_table(path, rows, SCHEMAS[path], read_provenance(path) | changes)


def rows_of(path: Path) -> pl.DataFrame:
    return read_table(path, SCHEMAS[path])


ARTEFACTS = Path("results/artefacts/model=tiny")


@pytest.mark.parametrize("path", [EDITED, STEPS, KEYS])
def test_rows_have_the_digest_of_every_artefact_that_they_were_computed_with(
    study: None, path: Path
) -> None:
    made = read_provenance(path)
    (moment,) = made["job"]["moments"].values()
    (values,) = (Path(file["path"]) for file in read_provenance(EDITED)["job"]["values"])
    prefixes = ARTEFACTS / "prefixes.json"
    found = {str(prefixes): json.loads(prefixes.read_text())["digest"]}
    for file in (Path(moment), values):
        with safe_open(file, framework="numpy") as tensors:
            found[str(file)] = tensors.metadata()["digest"]
    expected = found if path != STEPS else {k: v for k, v in found.items() if k != str(values)}
    assert made["artefacts"] == expected


def test_rows_of_a_trained_editor_have_the_digest_of_its_training(study: None) -> None:
    made = read_provenance(Path(str(EDITED).replace("rome", "mend")))
    trained = made["job"]["trained"]
    with safe_open(trained, framework="numpy") as tensors:
        assert made["artefacts"][trained] == tensors.metadata()["digest"]


@pytest.mark.parametrize("path", SUMMARIES)
@pytest.mark.parametrize("commands", [SUMMARIES, ALONE])
def test_a_sound_study_is_summarised(
    study: None, path: Path, commands: Mapping[Path, tuple[str, ...]]
) -> None:
    result = run(*commands[path])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", SUMMARIES)
@pytest.mark.parametrize(
    "change",
    [lambda table: table.slice(0, 0), lambda table: pa.concat_tables([table, table])],
    ids=["emptied", "doubled"],
)
def test_a_table_that_was_emptied_or_doubled_is_refused(
    study: None, path: Path, change: Callable[[pa.Table], pa.Table]
) -> None:
    by_another_program(path, change)
    said = refused(*SUMMARIES[path])
    assert f"{path}: has" in said and "delete it and run again" in said


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (EDITED, "missing: case 10"),
        (STEPS, "missing: step 0"),
        (SCORES, "missing: the unedited model in task"),
        (KEYS, "missing: collapse case 10 (mixed, with C)"),
    ],
)
@pytest.mark.parametrize("commands", [SUMMARIES, ALONE])
def test_a_job_that_wrote_no_rows_is_refused_with_the_rows_that_are_missing(
    study: None, path: Path, named: str, commands: Mapping[Path, tuple[str, ...]]
) -> None:
    by_editcore(path, rows_of(path).clear())
    assert named in refused(*commands[path])


@pytest.mark.parametrize("path", SUMMARIES)
def test_each_row_is_missed(study: None, path: Path) -> None:
    rows = rows_of(path)
    for number in range(len(rows)):
        by_editcore(path, pl.concat([rows[:number], rows[number + 1 :]]))
        assert f"{path}: {len(rows)} rows planned, but missing: " in refused(*SUMMARIES[path])


def test_a_case_that_was_not_planned_is_named(study: None) -> None:
    rows = rows_of(EDITED)
    by_editcore(EDITED, pl.concat([rows, rows[:1].with_columns(case_id=pl.lit(99, pl.Int64))]))
    assert "but not planned: case 99; delete it" in refused(*SUMMARIES[EDITED])


def test_rows_of_a_smaller_study_are_refused_by_a_larger_plan(study: None) -> None:
    """The plan counts, not what the table was made from."""
    smaller = world.STUDY | {"datasets": {"facts": {"path": "data/facts.json", "limit": 1}}}
    smaller = {name: smaller[name] for name in smaller if name not in ("sequences", "mechanism")}
    rows = rows_of(EDITED)
    write_config(Path("small.yaml"), smaller)
    assert run("plan", "small.yaml").exit_code == 0
    said = refused(*SUMMARIES[EDITED])
    others = ", ".join(f"case {case}" for case in rows["case_id"].to_list()[1:])
    assert f"1 row planned, but not planned: {others}; delete it" in said


def test_a_failed_case_is_a_row_and_not_missing(study: None) -> None:
    measured = ("perplexity", "efficacy", "denominator")
    rows = rows_of(EDITED).with_columns(
        pl.when(pl.col("case_id") == 10).then(None).otherwise(pl.col(name)).alias(name)
        for name in measured
    )
    failed = pl.when(pl.col("case_id") == 10).then(pl.lit("no key")).otherwise(pl.col("status"))
    by_editcore(EDITED, rows.with_columns(status=failed))
    assert run(*SUMMARIES[EDITED]).exit_code == 0


def ended_early(status: str, **changes: Any) -> None:
    """Make the sequence one of two facts that ended after the first."""
    rows = rows_of(STEPS).filter(pl.col("step") < 2)
    last = pl.when(pl.col("step") == 1).then(pl.lit(status)).otherwise(pl.col("status"))
    by_editcore(STEPS, rows.with_columns(status=last), **changes)


def test_a_sequence_may_end_where_its_rule_stops_it(study: None) -> None:
    ended_early("stopped")
    assert run(*SUMMARIES[STEPS]).exit_code == 0


def test_a_sequence_may_not_end_otherwise(study: None) -> None:
    job = read_provenance(STEPS)["job"]
    ended_early("ok")
    assert "missing: step 2" in refused(*SUMMARIES[STEPS])
    ended_early("stopped", job=job | {"stop_rule": None})
    assert "missing: step 2" in refused(*ALONE[STEPS])


def test_a_step_of_another_fact_is_named(study: None) -> None:
    other = pl.when(pl.col("step") == 1).then(pl.lit(99, pl.Int64)).otherwise(pl.col("case_id"))
    by_editcore(STEPS, rows_of(STEPS).with_columns(case_id=other))
    assert "not planned: step 1 with case 99" in refused(*SUMMARIES[STEPS])


def test_the_updates_of_a_case_that_was_left_out_are_not_missed(study: None) -> None:
    rows = rows_of(KEYS)
    case = int(rows["case_id"][0])
    rest = rows.filter((pl.col("case_id") != case) | (pl.col("cases") != "collapse"))
    by_editcore(KEYS, rest)
    assert f"missing: collapse case {case} (mixed, with C)" in refused(*SUMMARIES[KEYS])
    by_editcore(KEYS, rest, left_out={"collapse": {str(case): "too long"}, "normal": {}})
    assert run(*SUMMARIES[KEYS]).exit_code == 0
