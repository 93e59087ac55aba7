# ruff: noqa: F401, F811  `job` is a fixture of that file
"""A sequence that ends before its model is harmed."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.torch import load_file

from editcore.config.alarm import Alarm
from editcore.config.collapse import CollapseSection, Harm
from editcore.errors import DataError
from editcore.planning.jobs import SequenceJob
from editcore.records.schemas import SEQUENCES
from editcore.records.tables import write_table
from editcore.summary.sequences import write_sequences
from tests.runs.test_sequence import Resuming, job, patched_by, run

WOULD = {"damage": "be damaged, another", "collapse": "collapse, perplexity"}
MEASURED = ("perplexity", "top1_kept", "kl_mean", "accumulated_norm", "key_drift", "row_energy")


@pytest.fixture
def telling(job: SequenceJob) -> SequenceJob:
    """The same job, measured every second edit, with some telemetry."""
    names = ("key_drift", "row_energy")
    return job.model_copy(update={"every": 2, "telemetry": names, "checkpoint": 1})


def test_a_sequence_can_end_before_its_model_collapses(job: SequenceJob, tmp_path: Path) -> None:
    whole = run(job, tmp_path / "whole")
    highest = whole["kl_mean"][1:4].max()
    assert isinstance(highest, float)
    job = job.model_copy(update={"alarm": Alarm(predictor="kl_mean", threshold=highest)})
    ended = run(job, tmp_path / "ended")
    first = (whole["kl_mean"].fill_null(0.0) >= highest).arg_max()
    assert first is not None
    assert ended["step"].to_list() == list(range(first + 1))
    status = ended["status"][-1]
    assert status.startswith("warned: the mean divergence of predictions in nats is ")
    assert status.endswith("a collapse is foretold")
    assert ended["efficacy_so_far_n"][-1] == first, "the end is measured"
    assert ended["perplexity"].to_list() == whole["perplexity"].to_list()[: first + 1]
    write_sequences([tmp_path / "ended" / "rows.parquet"], tmp_path, CollapseSection())
    cut = ended.head(first)
    write_table(tmp_path / "ended" / "rows.parquet", cut, SEQUENCES, {"job": job.model_dump()})
    with pytest.raises(DataError):
        write_sequences([tmp_path / "ended" / "rows.parquet"], tmp_path, CollapseSection())


@pytest.mark.parametrize("harm", ["damage", "collapse"])
@pytest.mark.parametrize("last", [1, 4])
def test_a_step_that_harms_is_taken_back(
    telling: SequenceJob, harm: Harm, last: int, tmp_path: Path
) -> None:
    """The limit is set to what the model is after `last` edits; some step reaches it first."""
    close = telling.model_copy(update={"every": 1})
    whole = run(close, tmp_path / "whole")
    limit, first = _limit(whole, harm, last)
    job = telling.model_copy(update={"stop_rule": limit, "stop_before": harm})
    ended = run(job, tmp_path / "ended")
    assert ended.height == first + 1
    *others, end = ended["status"].to_list()
    assert set(others) == {"ok"}
    assert end.startswith(f"warned: taken back, since the model would {WOULD[harm]}")
    assert ended["made"].to_list() == [False] + [True] * (first - 1) + [False]
    assert ended["efficacy_so_far_n"][-1] == first - 1
    # What is left is the model before that step, in the last row and in the file.
    cut = close.model_copy(update={"case_ids": close.case_ids[: first - 1] or (99,)})
    before = whole.row(first - 1, named=True)
    found = ended.row(-1, named=True)
    for name in MEASURED:
        assert found[name] == (before[name] if first > 1 or name != "accumulated_norm" else 0), name
    changes = load_file(tmp_path / "ended" / "all.safetensors")
    if first == 1:
        assert not changes
        return
    run(cut, tmp_path / "cut")
    expected = load_file(tmp_path / "cut" / "all.safetensors")
    assert changes.keys() == expected.keys()
    assert all(changes[name].equal(tensor) for name, tensor in expected.items())
    write_sequences([tmp_path / "ended" / "rows.parquet"], tmp_path, CollapseSection())


def test_a_patch_that_harms_is_taken_back(
    job: SequenceJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, registry = patched_by(monkeypatch, job.model_copy(update={"every": 1}), Resuming)
    whole = run(job, tmp_path / "whole", registry)
    limit, first = _limit(whole, "damage", 2)
    assert first > 1, "the patch grows with every edit"
    job = job.model_copy(update={"stop_rule": limit, "stop_before": "damage"})
    ended = run(job, tmp_path / "ended", registry)
    assert ended.height == first + 1
    assert ended["status"][-1].startswith("warned: taken back, since the model would be damaged")
    assert ended["perplexity"][-1] == ended["perplexity"][-2] == whole["perplexity"][first - 1]
    assert ended["perplexity"][-1] != whole["perplexity"][first]


def _limit(whole: pl.DataFrame, harm: Harm, last: int) -> tuple[CollapseSection, int]:
    """A rule that the model breaks for the first time at or before its `last` edit; and when."""
    name, rule = ("top1_kept", "damage") if harm == "damage" else ("perplexity_ratio", "ratio")
    values = (1 - whole[name] if harm == "damage" else whole[name])[1:]
    reached = float(values[last - 1])
    first = 1 + int((values >= reached).arg_max() or 0)
    return CollapseSection(**{rule: reached * (1 - 1e-9)}), first
