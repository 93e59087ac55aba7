"""A shard of edits: what is measured, and what happens when an editor misbehaves."""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from editcore import EditContext, Editor, EditResult
from editcore.config.collapse import CollapseSection
from editcore.errors import DataError, ModelError
from editcore.evaluation.free_answers import names
from editcore.evaluation.generation import continuations
from editcore.evaluation.metrics import MetricInput
from editcore.evaluation.perplexity import measure, tokenize
from editcore.evaluation.teacher_forcing import Question, ask, tokenize_questions
from editcore.keyvalue.prefixes import ContextPrefixes, load, save
from editcore.models.loading import load_model
from editcore.planning.jobs import DatasetSpec, EditJob, EditorSpec, ModelSpec
from editcore.records.schemas import CASES
from editcore.records.tables import read_edits, read_table
from editcore.runs import edit
from editcore.summary.edits import write_edits
from editcore.testing.models import SENTENCES
from editcore.updates.delta import Delta, load_deltas
from tests.patches import Noise
from tests.rows import CLOCKS
from tests.runs.conftest import (
    WEIGHT,
    WORLD,
    Patches,
    Ragged,
    Script,
    ScriptedConfig,
    Sloppy,
    Sound,
    change_of,
)


def run(job: EditJob, folder: Path) -> tuple[pl.DataFrame, dict[int, Delta]]:
    edit.run(job, folder / "rows.parquet", folder / "deltas.safetensors")
    return read_edits([folder / "rows.parquet"]), load_deltas(folder / "deltas.safetensors")


def test_a_row_describes_the_edited_model(scripted, job: EditJob, tmp_path: Path) -> None:
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


def test_a_row_shows_what_an_edit_costs_and_whether_it_took(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    rows, changes = run(job, tmp_path)
    assert rows["change_bytes"].to_list() == [
        sum(tensor.nbytes for tensor in vars(update).values())
        for change in changes.values()
        for update in change.updates.values()
    ]
    model = load_model("tiny", job.model.source).model
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert rows["peak_memory"].min() > weights
    assert all(0 < row["seconds_editing"] <= row["seconds"] for row in rows.to_dicts())
    for row in rows.to_dicts():
        forced = max(row["efficacy"], row["efficacy_prefixed"]) >= 0.5
        free = row["efficacy_free"] > 0 or row["efficacy_free_prefixed"] > 0
        assert row["took"] is (forced or free)
    unasked, _ = run(job.model_copy(update={"metrics": (), "continuation_tokens": 0}), tmp_path)
    assert unasked["took"].to_list() == [None] * len(unasked)


def test_a_row_contains_the_text_generated_before_and_after_the_edit(
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


class Telling(Editor[ScriptedConfig]):
    """Reports numbers of all kinds; the second case reports none, the third fails."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        told = {"steps": 3, "rank.1": 24, "gap": math.inf} if case == 0 else {}
        if case == 2:
            return EditResult(None, "not this one", {"rank.1": 3})
        return EditResult(change_of(context, case), diagnostics=told)


def test_what_an_editor_reports_is_in_the_rows_and_the_cases(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Telling)
    rows, _ = run(job, tmp_path)
    assert rows["status"].to_list() == ["ok", "ok", "not this one"]
    assert rows["steps"].to_list() == [3, None, None]
    assert rows["diagnostics"].to_list() == ['{"gap": null, "rank.1": 24.0}', None, None]
    write_edits([tmp_path / "rows.parquet"], tmp_path / "summary", CollapseSection())
    cases = read_table(tmp_path / "summary" / "cases.parquet", CASES)
    assert cases["diagnostics"].to_list() == rows["diagnostics"].to_list()


@pytest.fixture
def prefixed(job: EditJob, tmp_path: Path) -> EditJob:
    """A job whose model has seven templates, more than an edit is tested in."""
    words = ("Therefore", "I think", "You", "The", "Because", "She", "Now")
    templates = ContextPrefixes(("{}", *(f"{word}. {{}}" for word in words)), "tiny", 0)
    save(templates, tmp_path / "prefixes.json")
    return job.model_copy(update={"prefixes": str(tmp_path / "prefixes.json")})


def test_efficacy_after_prefixes_is_over_five_of_them(
    script: Script, prefixed: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    rows, changes = run(prefixed, tmp_path)
    model, templates = load_model("tiny", prefixed.model.source), load(tmp_path / "prefixes.json")
    for row in rows.iter_rows(named=True):
        drawn = templates.for_tests(prefixed.seed, row["case_id"])
        bare = row["prompt"].format(row["subject"])
        questions = [
            Question(template.replace("{}", bare), row["target_new"]) for template in drawn
        ]
        with changes[row["case_id"]].applied(model.model):
            answers = ask(model, tokenize_questions(model, questions))
        found = [answers[question].accuracy for question in questions]
        assert row["test_prefix"] == drawn[0]
        assert row["efficacy_prefixed_n"] == len(found) == 5
        assert row["efficacy_prefixed"] == pytest.approx(sum(found) / 5)
        assert row["efficacy_prefixed_min"] == min(found)
        assert row["efficacy_prefixed_max"] == max(found)


def test_an_edited_model_that_is_asked_freely_is_read_after_the_prompt_and_all_prefixes(
    script: Script, prefixed: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    first, changes = run(prefixed, tmp_path)
    model, templates = load_model("tiny", prefixed.model.source), load(tmp_path / "prefixes.json")
    assert set(first["efficacy_free"]) == {0.0}, "a random model does not write the object"
    facts = json.loads(Path(prefixed.dataset.path).read_text())
    for fact, row in zip(facts, first.iter_rows(named=True), strict=True):
        # The scripted change does not depend on the object, so the model will write this one.
        fact["requested_rewrite"]["target_new"]["str"] = row["continuation"].split()[0]
    Path(prefixed.dataset.path).write_text(json.dumps(facts))
    rows, _ = run(prefixed, tmp_path)
    for row in rows.iter_rows(named=True):
        bare, name = row["prompt"].format(row["subject"]), row["target_new"]
        drawn = templates.for_tests(prefixed.seed, row["case_id"])
        with changes[row["case_id"]].applied(model.model):
            texts = continuations(model, [template.replace("{}", bare) for template in drawn], 5)
        assert row["efficacy_free"] == names(row["continuation"], name)
        assert row["efficacy_free_prefixed"] == sum(names(text, name) for text in texts) / 5
    assert 1.0 in set(rows["efficacy_free"])
    silent, _ = run(prefixed.model_copy(update={"continuation_tokens": 0}), tmp_path)
    assert (
        silent["efficacy_free"].null_count() == silent["efficacy_free_prefixed"].null_count() == 3
    )


def test_a_row_contains_whether_the_unedited_model_knows_the_fact(
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


def test_a_case_that_fails_has_a_reason_and_the_others_survive(
    scripted, job, tmp_path: Path
) -> None:
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
def test_a_change_that_breaks_the_contract_fails_only_its_case(
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


def test_a_patch_that_fails_affects_only_its_case(script: Script, job, tmp_path: Path) -> None:
    script(Patches, changes_weights=False)
    rows, _ = run(job, tmp_path)
    assert rows["status"].to_list() == [
        "ok",
        "KeyError: 'no such module'",
        "the editor 'scripted' returned a weight change, but its capabilities announce a patch; "
        "report this to its authors",
    ]


def test_a_patch_outside_the_declared_layers_is_refused(script: Script, job, tmp_path) -> None:
    script(Patches, changes_weights=False)
    editor = job.editor.model_copy(update={"options": {"layer": 0}})
    rows, _ = run(job.model_copy(update={"editor": editor}), tmp_path)
    assert "changed the hidden states, outside the layers 0" in rows["status"][0]


def test_a_result_that_is_not_an_edit_is_named(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    script(Sloppy)
    rows, _ = run(job, tmp_path)
    first, second, third = rows["status"]
    assert "'scripted' returned Delta, not an EditResult" in first
    assert "returned neither a weight change nor a reason" in second
    assert third == "the editor stopped before this request; report this to its authors"
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
        ({"evenness": 1.0}, "declares oddness, and evenness is missing or not one of these"),
    ],
)
def test_a_metric_that_fails_affects_only_its_case(
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
    assert_frame_equal(part.drop(*CLOCKS), whole.drop(*CLOCKS).head(1), rel_tol=1e-6)


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
