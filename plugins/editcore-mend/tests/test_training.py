"""Training resumes after a kill, stops early, and is bound to its model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_mend.config import MalmenConfig, MendConfig
from editcore_mend.editor import MendEditor
from editcore_mend.split import split
from editcore_mend.training import Training
from pydantic import ValidationError

from editcore import DataError, EditContext, RequestError, read_requests
from editcore.testing import tiny_facts, tiny_model, tiny_requests
from editcore.toolkit import (
    Checkpoint,
    LoadedModel,
    TrainedParts,
    load_trained,
    save_trained,
    target_row,
    wrap_model,
)

FEW: dict[str, Any] = {
    "layers": (1, 2), "exclude": (), "rank": 4, "steps": 6, "batch": 2, "validate_every": 2,
    "learning_rate": 0.01, "initial_step": 0.05,
}  # fmt: skip


class Killed(Exception):
    pass


def tiny(seed: int = 0) -> LoadedModel:
    return wrap_model("tiny", *tiny_model("llama", seed=seed))


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(tiny_facts()), encoding="utf-8")
    return path


def train(facts: Path, checkpoint: Checkpoint, **options: Any) -> TrainedParts:
    editor = MendEditor(MendConfig(**FEW | options))
    return editor.train(EditContext(tiny(), seed=1), [facts], checkpoint)


def unused(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "never.safetensors", "", float("inf"))


def test_a_killed_training_ends_with_the_same_network(
    facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(facts, unused(tmp_path))
    checkpoint = Checkpoint(tmp_path / "kept.safetensors", "this", seconds=0)
    learn = Training._learn

    def killed(self: Training) -> None:
        if self._step == 3:
            raise Killed
        learn(self)

    monkeypatch.setattr(Training, "_learn", killed)
    with pytest.raises(Killed):
        train(facts, checkpoint)
    steps = []
    monkeypatch.setattr(Training, "_learn", lambda self: (steps.append(self._step), learn(self)))
    found = train(facts, checkpoint)
    assert steps == [3, 4, 5]
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in found.tensors.items():
        torch.testing.assert_close(tensor, expected.tensors[name], rtol=1e-5, atol=1e-6)
    assert found.about["best"]["loss"] == pytest.approx(expected.about["best"]["loss"], rel=1e-5)
    assert found.about["left_out"] == expected.about["left_out"]


def test_training_returns_the_network_that_validated_best(facts: Path, tmp_path: Path) -> None:
    found = train(facts, unused(tmp_path), steps=8)
    losses = [each["loss"] for each in found.about["history"]]
    assert len(losses) == 4
    assert found.about["best"]["loss"] == min(losses)


def test_training_ends_when_patience_does(facts: Path, tmp_path: Path) -> None:
    options = {"learning_rate": 1e-12, "step_learning_rate": 1e-12, "patience": 1}
    found = train(facts, unused(tmp_path), steps=100, **options)
    assert found.about["steps"] < 100


def test_parts_share_no_subject_and_none_with_excluded_files(facts: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(tiny_facts()[:1]), encoding="utf-8")
    parts = split(facts, [other], 0.4, seed=0)
    subjects = [
        {fact.subject for fact in part} for part in (parts.train, parts.validation, parts.test)
    ]
    assert sum(map(len, subjects)) == len(set().union(*subjects)) == 5
    assert "Coral" not in set().union(*subjects)
    assert parts.case_ids == split(facts, [other], 0.4, seed=0).case_ids
    assert parts.case_ids != split(facts, [other], 0.4, seed=1).case_ids
    with pytest.raises(DataError, match="too few to train on"):
        split(facts, [facts], 0.4, seed=0)


def test_editing_leaves_the_statistics_as_they_were(facts: Path, tmp_path: Path) -> None:
    learnt = train(facts, unused(tmp_path))
    before = {name: tensor.clone() for name, tensor in learnt.tensors.items()}
    assert any(name.endswith("count") and tensor > 0 for name, tensor in before.items())
    editor = MendEditor(MendConfig(**FEW))
    context = EditContext(tiny(), trained=learnt)
    one, again = (list(editor.edit_each(context, tiny_requests())) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        for name, update in first.delta.updates.items():
            assert torch.equal(update.dense(), second.delta.updates[name].dense())
    for name, tensor in learnt.tensors.items():
        assert torch.equal(tensor, before[name])


def test_several_facts_are_the_sum_of_their_changes(facts: Path, tmp_path: Path) -> None:
    editor = MendEditor(MendConfig(**FEW, scale=2.0))
    context = EditContext(tiny(), trained=train(facts, unused(tmp_path)))
    requests = tiny_requests()
    together = editor.edit(context, requests).delta
    each = [editor.edit(context, [request]).delta for request in requests]
    for name, update in together.updates.items():
        expected = sum(delta.updates[name].dense() for delta in each)
        torch.testing.assert_close(update.dense(), expected, rtol=1e-4, atol=1e-6)
    plain = MendEditor(MendConfig(**FEW)).edit(context, requests).delta
    assert together.norm() == pytest.approx(2 * plain.norm())


def test_what_was_trained_for_another_model_is_refused(facts: Path, tmp_path: Path) -> None:
    learnt, path = train(facts, unused(tmp_path)), tmp_path / "trained.safetensors"
    save_trained(learnt, path, tiny(), (1, 2), "{}")
    read = load_trained(tiny(), (1, 2), path)
    assert read.about == json.loads(json.dumps(learnt.about))
    assert all(torch.equal(tensor, read.tensors[name]) for name, tensor in learnt.tensors.items())
    with pytest.raises(DataError, match="trained for the model 'tiny' with other weights"):
        load_trained(tiny(seed=1), (1, 2), path)
    with pytest.raises(DataError, match="other layers"):
        load_trained(tiny(), (0, 1), path)
    reduced = replace(tiny(), model=tiny().model.to(torch.bfloat16))
    assert load_trained(reduced, (1, 2), path).about == read.about
    halved = replace(tiny(), model=tiny().model.to(torch.float16))
    with pytest.raises(DataError, match="float16 changes weights, so load the model in another"):
        load_trained(halved, (1, 2), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="contains no trained parts"):
        load_trained(tiny(), (1, 2), path)


def test_parts_of_something_else_are_refused() -> None:
    foreign = TrainedParts({"networks.0.hidden.into": torch.zeros(4, 7)})
    for learnt in (None, TrainedParts({}), foreign):
        with pytest.raises(DataError):
            editor = MendEditor(MendConfig(layers=(1,)))
            editor.edit(EditContext(tiny(), trained=learnt), tiny_requests()[:1])


LONG = "the sea is quiet " * 80


def poisoned(facts: Path, count: int, **change: Any) -> Path:
    """The same facts, the last `count` of another relation and with a change in each."""
    records = json.loads(facts.read_text(encoding="utf-8"))
    for number, record in enumerate(records[len(records) - count :]):
        record["requested_rewrite"]["relation_id"] = f"P{number}"
        record |= change
    facts.write_text(json.dumps(records), encoding="utf-8")
    return facts


def test_facts_that_cannot_be_posed_are_counted_with_their_reasons(
    facts: Path, tmp_path: Path
) -> None:
    records = json.loads(facts.read_text(encoding="utf-8"))
    records.append(records[0] | {"case_id": 77, "paraphrase_prompts": [""]})
    facts.write_text(json.dumps(records), encoding="utf-8")
    found = train(poisoned(facts, 2, neighborhood_prompts=[]), unused(tmp_path), batch=8)
    assert found.about["flawed"] == {"77": "paraphrase 1 is empty; write it or remove it"}
    trained = found.about["left_out"]["training"]
    assert trained["drawn"] == FEW["steps"] * 8
    assert 0 < trained["left_out"] < trained["drawn"] / 2
    assert all("has no neighbour" in reason for reason in trained["reasons"].values())


def test_too_few_facts_that_can_be_posed_are_refused(facts: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can be used, too few .*positions; shorten it"):
        train(poisoned(facts, 6, paraphrase_prompts=[LONG]), unused(tmp_path))


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(RequestError, match="has no tokens"):
        target_row(tiny(), "", "Elro")


def test_every_fact_of_a_case_is_trained_on_or_excluded(
    facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = read_requests(facts)
    alone = split(facts, [], 0.4, 0)
    cases = {
        facts: [replace(first, further=tuple(others))],
        tmp_path: [replace(first, further=tuple(others[:1]))],
    }
    monkeypatch.setattr("editcore_mend.split.read_requests", cases.__getitem__)
    assert split(facts, [], 0.4, 0) == alone
    left = split(facts, [tmp_path], 0.4, 0)
    named = {each.subject for each in (*left.train, *left.validation, *left.test)}
    assert named == {each.subject for each in others[1:]}


def test_a_training_without_facts_is_refused(tmp_path: Path) -> None:
    editor = MendEditor(MendConfig(**FEW))
    with pytest.raises(DataError, match="MEND has no file of facts"):
        editor.train(EditContext(tiny(), seed=1), [], unused(tmp_path))


@pytest.mark.parametrize("config", [MendConfig, MalmenConfig])
def test_a_rank_wider_than_any_model_is_refused(config: type[MendConfig | MalmenConfig]) -> None:
    assert config(layers=(1,), rank=100_000).rank == 100_000
    with pytest.raises(ValidationError, match="less than or equal to 100000"):
        config(layers=(1,), rank=2**63)
