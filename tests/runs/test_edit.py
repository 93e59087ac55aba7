"""A shard of edits: what is measured, and what happens when an editor misbehaves."""

import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from editcore import (
    Capabilities,
    EditContext,
    Editor,
    EditorConfig,
    EditorInfo,
    EditResult,
    MetricInfo,
)
from editcore.config.study import PerplexitySection
from editcore.errors import DataError, ModelError
from editcore.evaluation.generation import continuations
from editcore.evaluation.metrics import Metric, MetricInput
from editcore.evaluation.perplexity import measure, tokenize
from editcore.models.loading import load_model
from editcore.planning.jobs import DatasetSpec, EditJob, EditorSpec, ModelSpec
from editcore.records.tables import read_edits
from editcore.runs import edit
from editcore.testing.models import SENTENCES, tiny_requests
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, load_deltas
from tests.patches import Noise

WORLD = Path(__file__).parents[2] / "resources" / "world"
WEIGHT = "model.layers.1.mlp.down_proj.weight"


class ScriptedConfig(EditorConfig):
    """Declares a layer where it is given one."""

    layer: int | None = None
    columns: int | None = None

    def edited_layers(self) -> tuple[int, ...]:
        return () if self.layer is None else (self.layer,)


def change_of(context: EditContext, case: int, columns: int | None = None) -> Delta:
    shape = context.model.model.get_parameter(WEIGHT).shape
    torch.manual_seed(case)
    change = torch.randn(shape) * 0.01
    return Delta({WEIGHT: DenseUpdate(change[:, :columns])})


class Scripted(Editor[ScriptedConfig]):
    """Adds noise to one weight; the second case raises, the third gives non-finite numbers."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        if case == 1:
            raise ValueError("no such fact")
        delta = change_of(context, case, self.config.columns)
        if case == 2:
            delta.updates[WEIGHT].dense()[0, 0] = float("inf")
        return EditResult(delta)


@dataclass(frozen=True)
class Failing(Noise):
    """Its hooks cannot be put in."""

    def applied(self, model):
        raise KeyError("no such module")


class Patches(Editor[ScriptedConfig]):
    """One patch that works, one that cannot be applied, one beside a weight change."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        patch = Noise.at(context.model, 1, seed=case, size=0.1)
        if case == 1:
            return EditResult(patch=Failing(**vars(patch)))
        delta = change_of(context, case) if case == 2 else None
        return EditResult(delta, patch=patch, diagnostics={"steps": 3})


class Sloppy(Editor[ScriptedConfig]):
    """What comes back is no edit; the request after the last is left out."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        raise AssertionError("edit_each answers")

    def edit_each(self, context: EditContext, requests):
        if requests[0].case_id == 0:
            yield change_of(context, 0)
            yield EditResult()
        else:
            yield EditResult(change_of(context, 0), diagnostics={"denominator": float("nan")})


class Ragged(Editor[ScriptedConfig]):
    """Factors whose ranks differ, a delta with a bare tensor, and one sound change."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case, shape = requests[0].case_id, context.model.model.get_parameter(WEIGHT).shape
        if case == 2:
            return EditResult(change_of(context, case))
        ragged = LowRankUpdate(torch.ones(shape[0], 2), torch.ones(shape[1], 2))
        # Afterwards, since the tests themselves refuse such factors where they are given.
        object.__setattr__(ragged, "inputs", torch.ones(shape[1], 1))
        return EditResult(Delta({WEIGHT: ragged if case == 0 else torch.ones(shape)}))


class Sound(Editor[ScriptedConfig]):
    """Small noise on one weight."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        return EditResult(change_of(context, requests[0].case_id))


Script = Callable[..., None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Make an editor, and metrics, known to every registry that a shard loads."""
    original = edit.load_registry

    def use(
        editor: type[Editor[ScriptedConfig]],
        metric: Metric | None = None,
        **capabilities: bool,
    ) -> None:
        module = types.ModuleType("scripted")
        module.__dict__.update(Editor=editor, metric=metric)
        monkeypatch.setitem(sys.modules, "scripted", module)

        def registry():
            found = original()
            source = found.editors["rome"].source
            found.editors.add(
                EditorInfo(
                    "scripted",
                    "",
                    "",
                    ScriptedConfig,
                    "scripted:Editor",
                    Capabilities(**capabilities),
                ),
                source,
            )
            found.metrics.add(MetricInfo("odd", "", "", "scripted:metric", ("oddness",)), source)
            return found

        monkeypatch.setattr(edit, "load_registry", registry)

    return use


@pytest.fixture
def scripted(script: Script) -> None:
    """Make `Scripted` known to the registry."""
    script(Scripted)


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
        perplexity=PerplexitySection(path=str(texts), texts=4),
        metrics=("accuracy", "score"),
        continuation_tokens=5,
        seed=0,
    )


def run(job: EditJob, folder: Path) -> tuple[pl.DataFrame, dict[int, Delta]]:
    edit.run(job, folder / "rows.parquet", folder / "deltas.safetensors")
    return read_edits([folder / "rows.parquet"]), load_deltas(folder / "deltas.safetensors")


def test_a_row_says_what_the_edited_model_is(scripted, job: EditJob, tmp_path: Path) -> None:
    rows, changes = run(job, tmp_path)
    row = rows.row(0, named=True)
    assert row["status"] == "ok"
    model = load_model("tiny", job.model.source)
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


def test_a_row_says_how_its_prompt_goes_on_before_and_after_the_edit(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    rows, changes = run(job, tmp_path)
    model = load_model("tiny", job.model.source)
    for row in rows.iter_rows(named=True):
        prompt = [row["prompt"].format(row["subject"])]
        assert row["continuation_base"] == continuations(model, prompt, 5)[0] != ""
        with changes[row["case_id"]].applied(model.model):
            assert row["continuation"] == continuations(model, prompt, 5)[0]
    alone, _ = run(job.model_copy(update={"case_ids": (1,)}), tmp_path)
    columns = ["continuation_base", "continuation"]
    assert alone.row(0, named=True)["continuation"] == rows["continuation"][1]
    silent, _ = run(job.model_copy(update={"continuation_tokens": 0}), tmp_path)
    assert silent[columns].null_count().row(0) == (3, 3)


def test_a_row_says_whether_the_unedited_model_knows_the_fact(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    model = load_model("tiny", "tiny-llama")
    records = json.loads((WORLD / "normal.json").read_text())[:3]
    rewrites = [record["requested_rewrite"] for record in records]
    rewrites[1]["target_true"], rewrites[2]["target_true"] = rewrites[1]["target_new"], {"str": ""}
    path = tmp_path / "world.json"
    path.write_text(json.dumps(records))
    changes = {
        "model": ModelSpec(name="tiny", source="tiny-llama"),
        "dataset": DatasetSpec(name="world", path=str(path)),
        "case_ids": tuple(record["case_id"] for record in records),
    }
    rows, _ = run(job.model_copy(update=changes), tmp_path)
    for row in rows.iter_rows(named=True):
        said = continuations(model, [row["prompt"].format(row["subject"])], 8)[0]
        says = said.strip().startswith(row["target_true"])
        assert row["known"] == (says if row["target_true"] else None)
    assert rows["known"].to_list() == [True, False, None]


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


def test_a_patch_is_measured_like_a_weight_change_and_not_kept(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Patches, changes_weights=False)
    rows, changes = run(job, tmp_path)
    row = rows.row(0, named=True)
    assert row["status"] == "ok"
    assert changes == {}
    assert (row["delta_norm"], row["weight_norm"], row["steps"]) == (None, None, 3)
    model = load_model("tiny", job.model.source)
    texts = tokenize(model, SENTENCES[:4])
    with Noise.at(model, 1, seed=0, size=0.1).applied(model.model):
        assert row["perplexity"] == pytest.approx(measure(model, texts).mean, rel=1e-6)
        prompt = row["prompt"].format(row["subject"])
        assert row["continuation"] == continuations(model, [prompt], 5)[0]
    assert row["perplexity"] != row["perplexity_base"]
    assert row["efficacy"] is not None


def test_a_patch_that_fails_costs_its_case_alone(script: Script, job, tmp_path: Path) -> None:
    script(Patches, changes_weights=False)
    rows, _ = run(job, tmp_path)
    assert rows["status"].to_list() == [
        "ok",
        "KeyError: 'no such module'",
        "the editor 'scripted' returned a weight change, but its capabilities announce a patch; "
        "report it to its authors",
    ]


def test_a_patch_outside_the_declared_layers_is_refused(script: Script, job, tmp_path) -> None:
    script(Patches, changes_weights=False)
    editor = job.editor.model_copy(update={"options": {"layer": 0}})
    rows, _ = run(job.model_copy(update={"editor": editor}), tmp_path)
    assert "changed the hidden states, outside the layers 0" in rows["status"][0]


def test_what_is_no_edit_is_named(script: Script, job: EditJob, tmp_path: Path) -> None:
    script(Sloppy)
    rows, _ = run(job, tmp_path)
    first, second, third = rows["status"]
    assert "'scripted' returned Delta, not an EditResult" in first
    assert "returned neither a weight change nor a reason" in second
    assert third == "the editor stopped before this request"
    script(Patches)
    rows, _ = run(job, tmp_path)
    assert "returned a patch, but its capabilities announce a weight change" in rows["status"][0]


def test_numbers_and_factors_that_no_table_or_weight_can_take(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Ragged)
    rows, changes = run(job, tmp_path)
    ragged, bare, sound = rows["status"]
    assert f"the factors for {WEIGHT} have shapes (32, 2) and (64, 1)" in ragged
    assert bare == "AttributeError: 'Tensor' object has no attribute 'finite'"
    assert sound == "ok"
    assert list(changes) == [2]
    script(Sloppy)
    rows, _ = run(job.model_copy(update={"case_ids": (1,)}), tmp_path)
    assert rows["status"][0].startswith("denominator is NaN")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"oddness": float("nan")}, "oddness is NaN"),
        ({"oddness": "very"}, "ValueError: could not convert string to float: 'very'"),
        ({"evenness": 1.0}, "declares oddness, not evenness"),
    ],
)
def test_a_metric_that_fails_costs_its_case_alone(
    script: Script, job: EditJob, tmp_path: Path, given: dict[str, Any], reason: str
) -> None:
    def odd(case: MetricInput) -> dict[str, Any]:
        return given if case.questions.request.case_id == 0 else {"oddness": 2.0}

    script(Sound, odd)
    rows, _ = run(job.model_copy(update={"metrics": ("accuracy", "odd")}), tmp_path)
    assert rows["status"][0].startswith("metric odd: ")
    assert reason in rows["status"][0]
    assert rows["efficacy"][0] is not None
    assert rows["oddness"].to_list() == [None, 2.0, 2.0]


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
        load_model("broken", str(tmp_path / "broken"))
