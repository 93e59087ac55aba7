"""The scale of a model: measured once, with a reason where it cannot be."""

from pathlib import Path

import pytest
import torch

from editcore.collapse.yardstick import scale_of
from editcore.evaluation.treatments import compression
from editcore.models import loading
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import ModelSpec, PerplexitySpec, RoundingJob
from editcore.records.model_schemas import ROUNDING
from editcore.records.tables import read_table
from editcore.runs import rounding
from editcore.summary.rounding import write_rounding
from tests.studies import TEXTS, write_json


@pytest.fixture
def job(tmp_path: Path, saved_model) -> RoundingJob:
    texts = write_json(tmp_path / "texts.json", TEXTS)
    model = ModelSpec(name="small", source=str(saved_model("llama")))
    return RoundingJob(model=model, perplexity=PerplexitySpec(path=str(texts), texts=2))


def test_a_model_has_a_row_for_each_number_of_bits(job: RoundingJob, tmp_path: Path) -> None:
    out = tmp_path / "rounding" / "model=small.parquet"
    rounding.run(job, out)
    table = read_table(out, ROUNDING)
    assert table.select("model", "bits", "status").rows() == [
        ("small", 4, "ok"),
        ("small", 8, "ok"),
    ]
    four, eight = table.iter_rows(named=True)
    assert four["perplexity_ratio"] == four["perplexity"] / four["perplexity_base"]
    assert scale_of(table) == {4: four["kl_mean"], 8: eight["kl_mean"]}
    assert 0 < eight["kl_mean"] < four["kl_mean"]
    write_rounding([out], tmp_path / "summary", {out: job})
    assert read_table(tmp_path / "summary" / "rounding.parquet", ROUNDING).equals(table)


def test_a_quantised_model_has_its_reason_and_no_scale(
    job: RoundingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quantised(*given: object, **named: object) -> LoadedModel:
        model = loading.load_spec(*given, **named)
        monkeypatch.setattr(compression, "linear_weights", lambda *_, **__: ["whole"])
        model.model.whole = torch.nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)
        return model

    rounding.run(job, tmp_path / "out.parquet", quantised)
    table = read_table(tmp_path / "out.parquet", ROUNDING)
    assert table["kl_mean"].to_list() == [None, None]
    assert all("is quantised (torch.int8)" in status for status in table["status"])
    assert scale_of(table) == {}
