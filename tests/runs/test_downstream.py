"""One job scores a model and its chosen edits, from the files that their shards left."""

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from click.testing import CliRunner

from editcore.cli import main
from editcore.errors import DataError
from editcore.planning.jobs import ModelSpec, PerplexitySpec
from editcore.planning.stages.jobs import DownstreamJob, EditFiles
from editcore.records.schemas import CORRELATION, DOWNSTREAM, EDITS
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.runs.finished.downstream import run
from editcore.updates.delta import Delta, DenseUpdate, save_deltas
from tests.rows import edit_row

PARAMETER = "transformer.h.2.mlp.c_proj.weight"
# Size of the change and the perplexity that the row reports, by case.
EDITED = {1: (0.0, 1.7), 2: (0.3, 4.0), 3: (3.0, 400.0), 4: (1e38, math.inf)}


def shard(folder: Path, cases: list[int], **changes: Any) -> EditFiles:
    """The rows and weight changes of a shard."""
    made = {}
    rows = []
    for case in cases:
        scale, perplexity = EDITED[case]
        draw = torch.Generator().manual_seed(case)
        made[case] = Delta({PARAMETER: DenseUpdate(scale * torch.randn(160, 640, generator=draw))})
        columns = {"model": "tiny", "delta_norm": 0.1 + scale} | changes
        rows.append(edit_row(case, perplexity, **columns))
    files = EditFiles(
        rows=str(folder / f"{cases[0]}.parquet"), deltas=str(folder / f"{cases[0]}.st")
    )
    write_table(Path(files.rows), rows, EDITS, {})
    save_deltas(made, Path(files.deltas), {})
    return files


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> DownstreamJob:
    """Two shards of two edits each, and a task of either kind."""
    folder = tmp_path_factory.mktemp("edits")
    return DownstreamJob(
        model=ModelSpec(name="tiny", source="tiny-gpt2"),
        edits=(shard(folder, [1, 4]), shard(folder, [2, 3])),
        tasks=("world_fact_choices", "world_questions"),
        count=3,
        top=2,
        limit=6,
        seed=0,
        perplexity=PerplexitySpec(path="resources/world/perplexity.json", texts=3),
    )


@pytest.fixture(scope="module")
def table(job: DownstreamJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the job writes."""
    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    run(job, path)
    return path


def test_every_chosen_model_has_a_row_per_task_and_the_unedited_too(table: Path) -> None:
    scores = read_table(table, DOWNSTREAM)
    assert len(scores) == 2 * 5
    assert scores["stored_as"].unique().to_list() == ["F32"]
    assert scores["case_id"].unique(maintain_order=True).to_list() == [1, 2, 3, 4, None]
    chosen = scores.unique("case_id", maintain_order=True).select("case_id", "spread", "top")
    assert chosen.rows() == [
        (1, True, False), (2, True, False), (3, True, True), (4, False, True), (None, False, False),
    ]  # fmt: skip


def test_scores_follow_the_weights_that_each_row_names(table: Path) -> None:
    scores = read_table(table, DOWNSTREAM).filter(pl.col("task") == "world_questions")
    by_case = dict(zip(scores["case_id"], scores["score"], strict=True))
    assert by_case[1] == by_case[None] == 1.0
    assert by_case[3] < 0.5
    assert (by_case[4], scores.filter(pl.col("case_id") == 4)["status"][0]) == (None, "nonfinite")


def test_the_table_records_how_it_was_made(table: Path) -> None:
    made = read_provenance(table)
    assert made["job"]["limit"] == 6
    assert {"lm_eval", "task world_questions"} <= made["tasks"].keys()


def test_a_weight_change_that_is_missing_is_named(job: DownstreamJob, tmp_path: Path) -> None:
    files = shard(tmp_path, [1])
    save_deltas({}, Path(files.deltas), {})
    with pytest.raises(DataError, match="lacks the weight change of case 1"):
        run(job.model_copy(update={"edits": (files,)}), tmp_path / "s")


def test_the_commands_lead_from_the_job_to_the_correlation(table: Path, tmp_path: Path) -> None:
    arguments = [str(table), "--out", str(tmp_path), "--resamples", "50"]
    done = CliRunner().invoke(main, ["correlate", *arguments])
    assert done.exit_code == 0, done.output
    found = read_table(tmp_path / "correlation.parquet", CORRELATION)
    assert found["n"].to_list() == [4, 4]
