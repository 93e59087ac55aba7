"""Cases of several facts: one change for all of them, in a model that is as before afterwards."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
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
    EditRequest,
    EditResult,
    ValueOptions,
    resolve_factory,
)
from editcore.editing.session import Session
from editcore.editing.transforms import BoundTransform
from editcore.evaluation.teacher_forcing import Question, ask, tokenize_questions
from editcore.keyvalue import prefixes, value_file
from editcore.keyvalue.value_file import StoredValues
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    EditorSpec,
    ModelSpec,
    PerplexitySpec,
    ValueFile,
)
from editcore.records.tables import read_edits
from editcore.registry.registry import load_registry
from editcore.runs import edit
from editcore.runs.edit import Shard
from editcore.runs.several_facts import edit_case, refusal
from editcore.testing import tiny_context
from editcore.testing.models import SENTENCES
from editcore.toolkit import ContextPrefixes
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, load_deltas
from tests.patches import Noise
from tests.rows import CLOCKS
from tests.several import knowing

TEMPLATES = ("{}", "Therefore. {}", "I think. {}")
WEIGHT = "transformer.h.1.mlp.c_proj.weight"
MADE = EditRequest(7, "{} is made by", "Coral", "Osdor", "Elro")
MAKER = EditRequest(7, "The maker of {} is", "Coral", "Tavel", "Elro")
CASE = replace(MADE, further=(MAKER,))
STRONG = {"steps": 10, "learning_rate": 0.5}


def session(editor: str, **options: Any) -> Session:
    """An installed editor on a tiny model."""
    registry = load_registry()
    info = registry.editors[editor].record
    keys = resolve_factory(registry.key_strategies["mixed"].record.factory)
    context = replace(tiny_context("gpt2", TEMPLATES), key_strategy=keys)
    return Session(info, context, resolve_factory(info.factory)(info.config(**options)), [])


def scripted(editor: type[Editor[EditorConfig]], **capabilities: bool) -> Session:
    info = EditorInfo("scripted", "", "", EditorConfig, "", Capabilities(**capabilities))
    return Session(info, tiny_context("gpt2", TEMPLATES), editor(EditorConfig()), [])


def weights(of: Session) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in of.context.model.model.state_dict().items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def dense(result: EditResult) -> torch.Tensor:
    assert result.delta is not None, result.status
    (update,) = result.delta.updates.values()
    return update.dense()


def test_an_editor_of_one_fact_edits_each_in_the_model_with_those_before() -> None:
    rome = session("rome", layer=1, **STRONG)
    before = weights(rome)
    found = edit_case(rome, CASE)
    assert found.delta is not None, found.status
    assert same(weights(rome), before)
    first = rome.editor.edit(rome.context, [MADE])
    assert first.delta is not None
    with first.delta.applied(rome.context.model.model):
        second = rome.editor.edit(rome.context, [MAKER])
    torch.testing.assert_close(dense(found), dense(first) + dense(second))
    unedited = rome.editor.edit(rome.context, [MAKER])
    assert not torch.allclose(dense(second), dense(unedited), rtol=0.01)
    (update,) = found.delta.updates.values()
    assert isinstance(update, LowRankUpdate)
    assert update.inputs.shape[1] == 2
    reported = first.diagnostics, second.diagnostics
    assert found.diagnostics == {
        "loss": pytest.approx(sum(each["loss"] for each in reported) / 2),
        "least_denominator": pytest.approx(min(abs(each["denominator"]) for each in reported)),
        "steps": max(each["steps"] for each in reported),
    }


def test_an_editor_of_several_facts_gets_all_in_one_call() -> None:
    memit = session("memit", layers=(0, 1), moment_weight=1.0, **STRONG)
    found = edit_case(memit, CASE)
    by_hand = memit.editor.edit(memit.context, [MADE, MAKER])
    assert found.delta is not None
    assert by_hand.delta is not None
    for name, update in by_hand.delta.updates.items():
        assert torch.equal(found.delta.updates[name].dense(), update.dense())
    assert found.diagnostics == by_hand.diagnostics


def test_planned_values_are_those_of_one_fact_and_are_not_used() -> None:
    rome = session("rome", layer=1, **STRONG)
    planned = {rome.editor.config.value_options(): StoredValues(Path("v"), {7: "planned"})}
    given = replace(rome, context=replace(rome.context, values=planned))
    assert rome.editor.edit(given.context, [MADE]).status == "planned"
    assert torch.equal(dense(edit_case(given, CASE)), dense(edit_case(rome, CASE)))


class Adding(Editor[EditorConfig]):
    """Adds a number to a weight, more with each edit; what it cannot edit, it says or raises."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        if any(request.target_new == "raises" for request in requests):
            raise ZeroDivisionError("no such fact")
        if any(request.target_new == "fails" for request in requests):
            return EditResult(status="not this one")
        edits = (state or 0) + 1
        shape = context.model.model.get_parameter(WEIGHT).T.shape
        change = torch.full(shape, float(edits)) if len(requests) == 1 else torch.ones(shape)
        return EditResult(Delta({WEIGHT: DenseUpdate(change)}), state=edits)


class Alone(Adding):
    """Edits any fact, but not two together."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        if len(requests) > 1:
            raise ZeroDivisionError("too many")
        return super().edit(context, requests, state)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    ("target", "reason"), [("fails", "not this one"), ("raises", "ZeroDivisionError: no such fact")]
)
def test_a_fact_that_fails_is_named_and_the_weights_are_restored(
    target: str, reason: str, batched: bool
) -> None:
    given = scripted(Adding, batched=batched)
    before = weights(given)
    result = edit_case(given, replace(CASE, further=(replace(MAKER, target_new=target), MAKER)))
    assert (result.delta, result.status) == (None, f"fact 2 of the case: {reason}")
    assert same(weights(given), before)


def test_facts_that_only_fail_together_say_so() -> None:
    result = edit_case(scripted(Alone, batched=True), CASE)
    assert result.status == "the facts of the case together: ZeroDivisionError: too many"


def test_the_weights_are_restored_if_the_work_is_interrupted() -> None:
    class Interrupted(Adding):
        def edit(self, context: EditContext, requests, state=None) -> EditResult:
            if state:
                raise KeyboardInterrupt
            return super().edit(context, requests, state)

    given = scripted(Interrupted)
    before = weights(given)
    with pytest.raises(KeyboardInterrupt):
        edit_case(given, CASE)
    assert same(weights(given), before)


def test_a_transform_of_all_edits_sees_their_sum_and_others_each_edit() -> None:
    seen: dict[str, list[float]] = {"each": [], "whole": []}

    def transform(name: str) -> BoundTransform:
        def function(delta: Delta, model: Any, config: Any) -> Delta:
            (update,) = delta.updates.values()
            seen[name].append(float(update.dense().mean()))
            return Delta({WEIGHT: update.scaled(2)})

        return BoundTransform(name, function, EditorConfig(), accumulated=name == "whole")

    given = replace(scripted(Adding), transforms=[transform("each"), transform("whole")])
    assert float(dense(edit_case(given, CASE)).mean()) == 2 * (2 * 1 + 2 * 2)
    assert seen == {"each": [1, 2], "whole": [6]}


class Collecting(Editor[EditorConfig]):
    """A patch for all facts so far, whose number is the state."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        edits = (state or 0) + 1
        return EditResult(patch=Noise.at(context.model, 1, seed=edits), state=edits)


def test_the_last_patch_is_that_of_all_facts() -> None:
    given = scripted(Collecting, changes_weights=False)
    result = edit_case(given, CASE)
    assert (result.status, result.delta, result.state) == ("ok", None, 2)
    assert isinstance(result.patch, Noise)
    assert torch.equal(result.patch.vector, Noise.at(given.context.model, 1, seed=2).vector)


def test_an_editor_that_cannot_is_not_asked() -> None:
    assert refusal(scripted(Adding), CASE) == ""
    assert refusal(scripted(Adding, sequential=False, batched=True), CASE) == ""
    assert "'scripted' edits one fact of an" in refusal(scripted(Adding, sequential=False), CASE)
    unnamed = replace(CASE, further=(EditRequest(7, "Who makes it?", "", "Osdor", ""),))
    assert refusal(scripted(Adding), unnamed).startswith("fact 2 of the case: the fact names no")
    empty = replace(CASE, target_new="")
    assert refusal(scripted(Adding), empty).startswith("fact 1 of the case: target_new is empty")


FACTS = [
    {"prompt": "Coral is made by", "subject": "Coral", "target_new": "Osdor"},
    {"prompt": "The maker of Coral is", "subject": "Coral", "target_new": "Tavel"},
    {"prompt": "Harbor is made by", "subject": "Harbor", "target_new": "Elro"},
]
CASES = ([0], [0, 1], [2], [2, 0, 1], [1])
Maker = Callable[..., EditJob]


@pytest.fixture
def make(saved_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Jobs of cases with one to three facts."""
    facts = [fact | {"ground_truth": "Elro"} for fact in FACTS]
    records = [{"case_id": i, "facts": [facts[n] for n in case]} for i, case in enumerate(CASES)]
    cases, texts, templates = (tmp_path / f"{name}.json" for name in ("cases", "texts", "prefixes"))
    cases.write_text(json.dumps(records))
    texts.write_text(json.dumps(list(SENTENCES)))
    prefixes.save(ContextPrefixes(TEMPLATES, "tiny", 0), templates)
    monkeypatch.setattr(edit, "load_registry", lambda: knowing(load_registry()))

    def job(cases_of: tuple[int, ...], editor: str = "rome", **changes: Any) -> EditJob:
        options: dict[str, Any] = {"layer": 1, "steps": 3}
        if editor == "rome":
            options |= {"second_moment": False, "learning_rate": 0.1}
        return EditJob(
            model=ModelSpec(name="tiny", source=str(saved_model("gpt2"))),
            editor=EditorSpec(label=editor, uses=editor, options=options),
            dataset=DatasetSpec(name="cases", path=str(cases), format="several"),
            shard=0,
            case_ids=cases_of,
            perplexity=PerplexitySpec(path=str(texts), texts=4),
            metrics=("accuracy", "score"),
            continuation_tokens=4,
            seed=0,
            prefixes=str(templates),
            **changes,
        )

    return job


def rows_of(job: EditJob, folder: Path) -> pl.DataFrame:
    folder.mkdir(exist_ok=True)
    edit.run(job, folder / "rows.parquet", folder / "deltas.safetensors")
    return read_edits([folder / "rows.parquet"])


@pytest.mark.parametrize("editor", ["rome", "ft"])
def test_no_case_s_row_depends_on_the_others_of_its_shard(
    make: Maker, tmp_path: Path, editor: str
) -> None:
    together = rows_of(make((0, 1, 2, 3, 4), editor), tmp_path / "together")
    assert together["status"].to_list() == ["ok"] * 5
    assert together["facts"].to_list() == [1, 2, 1, 3, 1]
    assert together["efficacy_all_facts"].is_null().to_list() == [len(each) == 1 for each in CASES]
    for number, cases in enumerate([(0, 2, 4), (1,), (3,)]):
        apart = rows_of(make(cases, editor), tmp_path / str(number))
        rows = together.filter(pl.col("case_id").is_in(cases))
        assert_frame_equal(apart.drop(CLOCKS), rows.drop(CLOCKS), rel_tol=1e-4)


def test_a_case_is_measured_by_its_first_fact_and_by_all(make: Maker, tmp_path: Path) -> None:
    job = make((3,), "ft")
    options = {"layer": 1, "steps": 20, "learning_rate": 0.01, "norm_constraint": None}
    known = EditorSpec(label="ft", uses="ft", options=options)
    job = job.model_copy(update={"editor": known})
    (row,) = rows_of(job, tmp_path).to_dicts()
    (change,) = load_deltas(tmp_path / "deltas.safetensors").values()
    model = Shard.open(job, knowing(load_registry())).session.context.model
    asked = [Question(FACTS[n]["prompt"], FACTS[n]["target_new"]) for n in CASES[3]]
    with change.applied(model.model):
        answers = ask(model, tokenize_questions(model, asked))
    each = [answers[question].accuracy for question in asked]
    assert row["efficacy_all_facts"] == pytest.approx(sum(each) / 3)
    assert row["efficacy_all_facts"] > 0
    assert (row["subject"], row["efficacy"]) == ("Harbor", each[0])


def test_values_are_planned_for_cases_of_one_fact_alone(make: Maker, tmp_path: Path) -> None:
    searched = rows_of(make((0, 1)), tmp_path / "searched")
    options = ValueOptions(layer=1, steps=3, learning_rate=0.1)
    path = tmp_path / "values.safetensors"
    value_file.save({0: "planned"}, path, {}, seconds=1000.0)
    planned = make((0, 1), values=(ValueFile(options=options, path=str(path)),))
    read = rows_of(planned, tmp_path / "read")
    assert read["status"].to_list() == ["planned", "ok"]
    assert read["seconds_editing"][0] > 1000 > read["seconds_editing"][1]
    assert_frame_equal(read.drop(CLOCKS)[1:], searched.drop(CLOCKS)[1:], rel_tol=1e-4)
