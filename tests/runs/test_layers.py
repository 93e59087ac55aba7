"""Keys at every layer: equal to those of a single layer, and a case without keys is named."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from editcore.config.texts import PrefixSection
from editcore.errors import DataError
from editcore.keyvalue.keys import collect_keys, keys_by_layer, tokenize_templates
from editcore.models.loading import load_spec, wrap_model
from editcore.planning.jobs import DatasetCases, DatasetSpec, ModelSpec, PrefixJob
from editcore.planning.stages.jobs import LayersJob
from editcore.records.model_schemas import LAYERS
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.registry.registry import load_registry
from editcore.requests import OK, EditRequest
from editcore.runs import artefacts
from editcore.runs.layers import compared, run
from editcore.summary.layers import write_layers
from editcore.testing.models import tiny_model
from tests.studies import record

SUBJECTS = ("Coral", "Harbor", "Anna Lindqvist")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> LayersJob:
    """A model, its prefixes, three sound facts, and one whose prompt is too long for the model."""
    folder = tmp_path_factory.mktemp("layers")
    model, tokenizer = tiny_model("gpt2")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    facts = [record(i, subject) for i, subject in enumerate(SUBJECTS)]
    facts.append(record(9, "Coral") | {"prompt": "so " * 4000 + "{} is"})
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    spec = ModelSpec(name="gpt2", source=str(folder / "model"))
    prefix_job = PrefixJob(
        model=spec, prefixes=PrefixSection(lengths=((5, 2),), seeds=("The", "I")), seed=0
    )
    artefacts.write_prefixes(prefix_job, folder / "prefixes.json")
    data = DatasetSpec(name="facts", path=str(folder / "facts.json"))
    return LayersJob(
        model=spec,
        prefixes=str(folder / "prefixes.json"),
        sets=(DatasetCases(dataset=data, case_ids=(0, 1, 2, 9)),),
    )


@pytest.fixture(scope="module")
def table(job: LayersJob) -> pl.DataFrame:
    out = Path(job.prefixes).with_name("layers.parquet")
    run(job, out)
    return read_table(out, LAYERS)


def test_every_case_has_a_row_per_layer(job: LayersJob, table: pl.DataFrame) -> None:
    depth = load_spec(job.model, load_registry()).parts.depth
    expected = [(case, layer) for case in (0, 1, 2, 9) for layer in range(depth)]
    assert table.select("case_id", "layer").rows() == expected
    assert table["stored_as"].unique().to_list() == ["F32"]


def test_a_case_without_keys_says_why_and_changes_no_other(table: pl.DataFrame) -> None:
    broken = table.filter(case_id=9)
    assert broken["status"].str.contains("tokens after the longest prefix").all()
    assert broken["denominator_share"].null_count() == len(broken)
    assert (table.filter(pl.col("case_id") != 9)["status"] == OK).all()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_keys_by_layer_are_those_that_an_edit_of_the_layer_reads(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    templates = ("{}", "Therefore. {}", "I am not sure. {}")
    requests = [
        EditRequest(i, "{} is made by", subject, "Osdor", "") for i, subject in enumerate(SUBJECTS)
    ]
    prompts = [tokenize_templates(model, request, templates) for request in requests]
    found = keys_by_layer(model, prompts)
    for layer in range(model.parts.depth):
        for case, keys in zip(found, collect_keys(model, layer, prompts), strict=True):
            torch.testing.assert_close(case[layer], keys.keys, rtol=1e-5, atol=1e-6)


def test_the_share_is_romes_denominator_by_c_romes() -> None:
    keys = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    found = compared(keys)
    assert found["denominator_share"] == pytest.approx(4.5 / 4.5)
    assert found["key_cosine"] == pytest.approx(2**-0.5)
    assert found["key_norm"] == pytest.approx(3.0)


def test_tables_of_all_models_are_joined(
    job: LayersJob, table: pl.DataFrame, tmp_path: Path
) -> None:
    one = Path(job.prefixes).with_name("layers.parquet")
    other = tmp_path / "other.parquet"
    run(job.model_copy(update={"model": job.model.model_copy(update={"name": "twin"})}), other)
    write_layers([one, other], tmp_path)
    joined = read_table(tmp_path / "layers.parquet", LAYERS)
    assert len(joined) == 2 * len(table)
    assert joined["model"].unique(maintain_order=True).to_list() == ["gpt2", "twin"]


def test_rows_of_a_case_that_are_missing_are_named(
    job: LayersJob, table: pl.DataFrame, tmp_path: Path
) -> None:
    path = Path(job.prefixes).with_name("layers.parquet")
    made, short = read_provenance(path), tmp_path / "short.parquet"
    for rows, named in (
        (table.clear(), "case 0 of facts, layer 0, case 1 of facts, layer 0"),
        (table.filter(pl.col("case_id") != 1), "missing: case 1 of facts, layer 0, case 1"),
        (table[1:], "missing: case 0 of facts, layer 0; delete it and run again"),
    ):
        write_table(short, rows, LAYERS, made)
        with pytest.raises(DataError, match=rf"short\.parquet: .*{named}"):
            write_layers([short], tmp_path)
    larger = DatasetCases(dataset=job.sets[0].dataset, case_ids=(0, 1, 2, 9, 10))
    with pytest.raises(DataError, match="missing: case 10 of facts, layer 0"):
        write_layers([path], tmp_path, {path: job.model_copy(update={"sets": (larger,)})})


def test_rows_have_the_digest_of_the_prefixes(job: LayersJob, table: pl.DataFrame) -> None:
    made = read_provenance(Path(job.prefixes).with_name("layers.parquet"))
    digest = json.loads(Path(job.prefixes).read_text(encoding="utf-8"))["digest"]
    assert made["artefacts"] == {job.prefixes: digest}
