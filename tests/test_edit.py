"""A shard of edits: what is measured, and what happens when an editor misbehaves."""

import json
import sys
import types
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from editcore import EditContext, Editor, EditorConfig, EditResult, deltas, edit
from editcore.deltas import Delta, DenseUpdate
from editcore.errors import DataError, ModelError
from editcore.jobs import CollapseSpec, DatasetSpec, EditJob, EditorSpec, ModelSpec, PerplexitySpec
from editcore.models import load
from editcore.perplexity import measure, tokenize
from editcore.store import read_edits
from editcore.testing.models import SENTENCES, tiny_requests

WEIGHT = "model.layers.1.mlp.down_proj.weight"


class ScriptedConfig(EditorConfig):
    """Declares a layer where it is given one."""

    layer: int | None = None
    columns: int | None = None

    def edited_layers(self) -> tuple[int, ...]:
        return () if self.layer is None else (self.layer,)


class Scripted(Editor[ScriptedConfig]):
    """Adds noise to one weight; the second case raises, the third gives non-finite numbers."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        if case == 1:
            raise ValueError("no such fact")
        shape = context.model.model.get_parameter(WEIGHT).shape
        torch.manual_seed(case)
        change = torch.randn(shape) * 0.01
        if case == 2:
            change[0, 0] = float("inf")
        change = change[:, : self.config.columns]
        return EditResult(Delta({WEIGHT: DenseUpdate(change)}))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `Scripted` what every editor of the registry resolves to."""
    module = types.ModuleType("scripted")
    module.__dict__.update(Editor=Scripted)
    monkeypatch.setitem(sys.modules, "scripted", module)
    original = edit.load_registry

    def registry():
        found = original()
        entry = found.editors["rome"]
        record = type(entry.record)("scripted", "", "", ScriptedConfig, "scripted:Editor")
        found.editors.add(record, entry.source)
        return found

    monkeypatch.setattr(edit, "load_registry", registry)


@pytest.fixture
def job(saved_model, tmp_path: Path) -> EditJob:
    records = [
        {
            "case_id": r.case_id,
            "pararel_idx": 0,
            "requested_rewrite": {
                "prompt": r.prompt,
                "relation_id": r.relation,
                "subject": r.subject,
                "target_new": {"str": r.target_new, "id": ""},
                "target_true": {"str": r.target_true, "id": ""},
            },
            "paraphrase_prompts": list(r.paraphrases),
            "neighborhood_prompts": [p.prompt for p in r.neighbours],
            "attribute_prompts": [],
            "generation_prompts": [],
        }
        for r in tiny_requests()
    ]
    cases, texts = tmp_path / "cases.json", tmp_path / "texts.json"
    cases.write_text(json.dumps(records))
    texts.write_text(json.dumps([{"Corpus": "tests", "Text": s} for s in SENTENCES]))
    return EditJob(
        model=ModelSpec(name="tiny", source=str(saved_model("llama"))),
        editor=EditorSpec(label="mine", uses="scripted"),
        dataset=DatasetSpec(name="cases", path=str(cases)),
        shard=0,
        case_ids=(0, 1, 2),
        perplexity=PerplexitySpec(path=str(texts), texts=4),
        collapse=CollapseSpec(ratio=5.0),
        metrics=("accuracy", "score"),
        seed=0,
    )


def run(job: EditJob, folder: Path) -> tuple[pl.DataFrame, dict[int, Delta]]:
    edit.run(job, folder / "rows.parquet", folder / "deltas.safetensors")
    return read_edits([folder / "rows.parquet"]), deltas.load(folder / "deltas.safetensors")


def test_a_row_says_what_the_edited_model_is(scripted, job: EditJob, tmp_path: Path) -> None:
    rows, changes = run(job, tmp_path)
    row = rows.row(0, named=True)
    assert row["status"] == "ok"
    model = load("tiny", job.model.source)
    texts = tokenize(model, SENTENCES[:4])
    assert row["perplexity_base"] == pytest.approx(measure(model, texts).mean, rel=1e-6)
    with changes[0].applied(model.model):
        assert row["perplexity"] == pytest.approx(measure(model, texts).mean, rel=1e-6)
    assert row["perplexity_ratio"] == pytest.approx(row["perplexity"] / row["perplexity_base"])
    assert row["delta_norm"] == pytest.approx(changes[0].norm(), rel=1e-6)
    weight = model.model.get_parameter(WEIGHT)
    assert row["weight_norm"] == pytest.approx(float(weight.norm()), rel=1e-5)
    assert row["denominator"] is None
    assert row["locality"] is not None
    assert (row["subject_start"], row["subject_tokens"], row["subject_position"]) == (0, 1, 0)


def test_a_case_that_fails_says_why_and_the_others_survive(scripted, job, tmp_path: Path) -> None:
    rows, changes = run(job, tmp_path)
    assert rows["status"].to_list()[1] == "ValueError: no such fact"
    assert rows["perplexity"].to_list()[1] is None
    assert rows.height == 3
    assert 1 not in changes


def test_non_finite_weights_are_never_measured(scripted, job: EditJob, tmp_path: Path) -> None:
    rows, changes = run(job, tmp_path)
    assert "non-finite" in rows["status"].to_list()[2]
    assert 2 not in changes


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layer": 0}, "outside the layers 0 that it declares"),
        ({"columns": 3}, "has shape (32, 3)"),
    ],
)
def test_a_change_that_breaks_the_contract_is_a_status_and_the_rest_goes_on(
    scripted, job: EditJob, tmp_path: Path, options: dict[str, int], reason: str
) -> None:
    editor = job.editor.model_copy(update={"options": options})
    rows, changes = run(job.model_copy(update={"editor": editor}), tmp_path)
    assert changes == {}
    assert reason in rows["status"][0]
    assert WEIGHT in rows["status"][0]
    assert rows["status"][1] == "ValueError: no such fact"


def test_shards_do_not_change_rows(scripted, job: EditJob, tmp_path: Path) -> None:
    whole, _ = run(job, tmp_path / "a")
    part, _ = run(job.model_copy(update={"case_ids": (0,)}), tmp_path / "b")
    assert_frame_equal(part.drop("seconds"), whole.drop("seconds").head(1), rel_tol=1e-6)


def test_missing_cases_and_impossible_layers_are_named(job: EditJob, tmp_path: Path) -> None:
    gone = job.model_copy(
        update={"editor": EditorSpec(label="r", uses="rome", options={"layer": 9})}
    )
    with pytest.raises(ModelError, match="0 to 2"):
        run(gone, tmp_path)
    options = {"layer": 1}
    gone = job.model_copy(
        update={
            "case_ids": (77,),
            "editor": EditorSpec(label="r", uses="rome", options=options),
        }
    )
    with pytest.raises(DataError, match="77"):
        run(gone, tmp_path)


def test_an_unedited_model_that_is_broken_is_refused(job, saved_model, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(job.model.source, dtype=torch.float32)
    with torch.no_grad():
        model.get_parameter("model.norm.weight").fill_(float("nan"))
    model.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(job.model.source).save_pretrained(tmp_path / "broken")
    with pytest.raises(ModelError, match=r"non-finite numbers in model\.norm\.weight"):
        load("broken", str(tmp_path / "broken"))
