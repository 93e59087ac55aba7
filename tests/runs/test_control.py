"""The control changes no number of a study by a single bit."""

from pathlib import Path

import polars as pl
import pytest

from editcore.planning.jobs import DatasetSpec, EditJob, EditorSpec, ModelSpec, PerplexitySpec
from editcore.runs import edit
from editcore.testing.models import save_tiny_model
from tests.studies import write_data


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_measure_of_the_model_stays(tmp_path: Path, kind: str) -> None:
    write_data(tmp_path)
    job = EditJob(
        model=ModelSpec(name=kind, source=str(save_tiny_model(kind, tmp_path / "model"))),
        editor=EditorSpec(label="control", uses="noop"),
        dataset=DatasetSpec(name="facts", path=str(tmp_path / "data" / "facts.json")),
        shard=0,
        case_ids=(10, 11),
        perplexity=PerplexitySpec(path=str(tmp_path / "data" / "texts.json"), texts=4),
        metrics=("accuracy", "score"),
        seed=0,
    )
    edit.run(job, tmp_path / "rows.parquet", tmp_path / "deltas.safetensors")
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    assert rows["status"].to_list() == ["ok", "ok"]
    assert rows["perplexity_ratio"].to_list() == [1.0, 1.0]
    assert rows["locality"].to_list() == [1.0, 1.0]
    assert rows["delta_norm"].to_list() == rows["weight_norm"].to_list() == [0.0, 0.0]
    assert rows["denominator"].is_null().all()
