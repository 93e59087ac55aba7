# ruff: noqa: F401, F811  `job` is a fixture of that file
"""A sequence that ends before its model is harmed."""

from pathlib import Path

import pytest

from editcore.config.alarm import HARMS, Alarm, Harm
from editcore.config.collapse import CollapseSection
from editcore.errors import DataError
from editcore.planning.jobs import SequenceJob
from editcore.records.schemas import SEQUENCES
from editcore.records.tables import write_table
from editcore.summary.sequences import write_sequences
from tests.runs.test_sequence import job, run


@pytest.mark.parametrize("harm", ["damage", "collapse"])
def test_a_sequence_can_end_before_harm(job: SequenceJob, tmp_path: Path, harm: Harm) -> None:
    whole = run(job, tmp_path / "whole")
    highest = whole["kl_mean"][1:4].max()
    assert isinstance(highest, float)
    alarm = Alarm(foretells=harm, predictor="kl_mean", threshold=highest)
    job = job.model_copy(update={"alarm": alarm})
    ended = run(job, tmp_path / "ended")
    first = (whole["kl_mean"].fill_null(0.0) >= highest).arg_max()
    assert first is not None
    assert ended["step"].to_list() == list(range(first + 1))
    status = ended["status"][-1]
    assert status.startswith("warned: the mean divergence of predictions in nats is ")
    assert status.endswith(f"{HARMS[harm]} is foretold")
    assert ended["efficacy_so_far_n"][-1] == first, "the end is measured"
    assert ended["perplexity"].to_list() == whole["perplexity"].to_list()[: first + 1]
    write_sequences([tmp_path / "ended" / "rows.parquet"], tmp_path, CollapseSection())
    cut = ended.head(first)
    write_table(tmp_path / "ended" / "rows.parquet", cut, SEQUENCES, {"job": job.model_dump()})
    with pytest.raises(DataError):
        write_sequences([tmp_path / "ended" / "rows.parquet"], tmp_path, CollapseSection())
