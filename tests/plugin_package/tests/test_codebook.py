"""The suite that every editor passes, and tests of this package's own promises."""

from typing import Any, ClassVar

import pytest
import torch
from editcore_codebook import CodebookConfig
from editcore_codebook.codebook import Codebook
from editcore_codebook.editor import CodebookEditor
from editcore_codebook.fluency import entropy

from editcore import EditContext, EditRequest
from editcore.testing import EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import Question, ask, tokenize_questions, wrap_model

CONFIG = CodebookConfig(layer=1, radius=0.3, target_loss=0.02)
ELRO, OSDOR = "Elro", "Osdor"


class TestCodebook(EditorConformance):
    editor = "codebook"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


@pytest.fixture(params=["gpt2", "llama"])
def context(request: pytest.FixtureRequest) -> EditContext:
    return EditContext(wrap_model(request.param, *tiny_model(request.param)))


def about(subject: str, target: str, prompt: str = "{} is made by") -> EditRequest:
    return EditRequest(0, prompt, subject, target, ELRO)


def accuracy(context: EditContext, request: EditRequest) -> float:
    """The share of the target's tokens that the model predicts."""
    question = Question(request.text, request.target_new)
    return ask(context.model, tokenize_questions(context.model, [question]))[question].accuracy


def test_an_edit_takes_effect_and_leaves_other_prompts_alone(context: EditContext) -> None:
    first, other, *_ = tiny_requests()
    result = CodebookEditor(CONFIG).edit(context, [first])
    unedited = context.model.tokenizer(other.text, return_tensors="pt")
    before = context.model.model(**unedited).logits
    assert accuracy(context, first) < 1
    assert result.patch is not None
    with result.patch.applied(context.model.model):
        assert accuracy(context, first) == 1
        assert torch.equal(context.model.model(**unedited).logits, before)


def test_a_sequence_keeps_what_it_learnt(context: EditContext) -> None:
    editor = CodebookEditor(CONFIG.model_copy(update={"radius": 0.01}))
    requests, state = tiny_requests(), editor.start(context)
    for request in requests:
        result = editor.edit(context, [request], state)
        state = result.state
    assert len(state.keys) == len(requests)
    together = editor.edit(context, requests)
    assert torch.equal(together.state.keys, state.keys)
    assert result.patch is not None
    with result.patch.applied(context.model.model):
        assert [accuracy(context, request) for request in requests] == [1, 1, 1]


def test_the_same_target_nearby_expands_a_key(context: EditContext) -> None:
    editor = CodebookEditor(CONFIG.model_copy(update={"radius": 0.6}))
    first = editor.edit(context, [about("Coral", OSDOR)])
    second = editor.edit(context, [about("Harbor", OSDOR)], first.state)
    assert len(second.state.keys) == 1
    assert second.diagnostics["steps"] == 0
    assert float(second.state.radii) >= float(first.state.radii)
    key = editor.edit(context, [about("Harbor", OSDOR)]).state.keys
    (distance,), _ = second.state.nearest(key)
    assert distance <= second.state.radii[0]


def test_another_target_nearby_splits_the_room_between_keys(context: EditContext) -> None:
    editor = CodebookEditor(CONFIG.model_copy(update={"radius": 5.0}))
    requests = [about("Coral", OSDOR), about("Harbor", "Tavel")]
    result = editor.edit(context, requests)
    book = result.state
    distance = float((book.keys[0] - book.keys[1]).norm())
    assert book.radii.tolist() == pytest.approx([distance / 2] * 2, rel=1e-5)
    assert result.patch is not None
    with result.patch.applied(context.model.model):
        assert [accuracy(context, request) for request in requests] == [1, 1]


def test_an_edit_of_the_same_prompt_replaces_the_first(context: EditContext) -> None:
    editor = CodebookEditor(CONFIG)
    result = editor.edit(context, [about("Coral", OSDOR), about("Coral", "Tavel")])
    assert len(result.state.keys) == 1
    assert result.patch is not None
    with result.patch.applied(context.model.model):
        assert accuracy(context, about("Coral", "Tavel")) == 1


def test_answers_come_from_the_nearest_key_within_its_radius() -> None:
    keys, values = torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    book = Codebook(keys, values, torch.tensor([1.0, 3.0]), ((1,), (2,)))
    inputs = torch.tensor([[[0.5, 0.0], [2.0, 0.0], [8.0, 0.0], [-9.0, 0.0]]])
    found = book.answers(inputs, torch.zeros(1, 4, 2))
    assert found[0].tolist() == [[1.0, 1.0], [0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]


def test_repeated_text_has_no_entropy_and_varied_text_has_more() -> None:
    assert entropy([7] * 20, 3) == 0
    assert entropy(list(range(18)), 3) == pytest.approx(4.0)
