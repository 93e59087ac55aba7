"""The rules of the codebook, its state, its patch, and faults of a known re-implementation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from editcore_grace.codebook import GAP, Codebook, decide
from editcore_grace.config import GraceConfig
from editcore_grace.editor import GraceEditor

from editcore import EditContext, EditRequest, PluginError, RequestError
from editcore.testing import KINDS_BY_TRAIT, EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import LoadedModel, Question, ask, tokenize_questions, wrap_model

LAYER = 1
OPTIONS: dict[str, Any] = {"layer": LAYER, "radius": 0.1, "steps": 30, "learning_rate": 0.5}
FIRST, SECOND = (3, 4), (5,)


class TestConformance(EditorConformance):
    editor = "grace"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layer": 1, "radius": 0.05, "steps": 5}


class TestConformanceWarm(EditorConformance):
    editor = "grace"
    kinds = ("gpt2", "llama")
    options: ClassVar[dict[str, Any]] = {"layer": 0, "radius": 0.05, "steps": 5, "start": "warm"}


def tiny() -> LoadedModel:
    return wrap_model("llama", *tiny_model("llama"))


def at(*places: float) -> torch.Tensor:
    """Keys on a line, away from zero."""
    return torch.tensor([[place, 1.0] for place in places])


def book_of(places: Sequence[float], targets: Sequence[tuple[int, ...]]) -> Codebook:
    book = Codebook.empty(2, 2, torch.device("cpu"))
    for key, target in zip(at(*places), targets, strict=True):
        book = book.added(key, 1.0, target)
    return book


def test_a_far_input_is_a_new_entry_with_the_first_radius() -> None:
    found = decide(book_of([0], [FIRST]), at(2.1)[0], FIRST, 1.0)
    assert (found.entry, found.kept, found.book.radii.tolist()) == (1, False, [1.0, 1.0])


def test_a_near_input_with_the_same_target_lets_the_entry_grow_to_it() -> None:
    found = decide(book_of([0], [FIRST]), at(1.5)[0], FIRST, 1.0)
    assert (found.entry, found.kept, len(found.book)) == (0, True, 1)
    assert float(found.book.radii[0]) == pytest.approx(1.5, rel=1e-3)
    assert float(found.book.radii[0]) >= 1.5
    inside = decide(book_of([0], [FIRST]), at(0.5)[0], FIRST, 1.0)
    assert float(inside.book.radii[0]) == 1.0


def test_a_near_input_with_another_target_halves_the_distance() -> None:
    found = decide(book_of([0], [FIRST]), at(1.0)[0], SECOND, 1.0)
    assert (found.entry, found.kept) == (1, False)
    assert found.book.radii.tolist() == pytest.approx([0.5 - GAP, 0.5])


def test_the_same_input_with_another_target_replaces_it() -> None:
    found = decide(book_of([0], [FIRST]), at(0.0)[0], SECOND, 1.0)
    assert (found.entry, found.kept, found.book.targets) == (0, False, (SECOND,))
    assert found.book.radii.tolist() == [1.0]


@pytest.mark.parametrize("other", [(2, 5), (4, 3), (7,)])
def test_targets_with_equal_means_are_different(other: tuple[int, ...]) -> None:
    """(3, 4), (2, 5) and (4, 3) have one mean, by which released code compares them."""
    assert not decide(book_of([0], [FIRST]), at(1.0)[0], other, 1.0).kept


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_of_several_entries_the_nearest_ones_own_target_counts(entry: int) -> None:
    """A known re-implementation prepends targets to appended keys, and compares with another's."""
    targets = [(1,), (2,), (3,)]
    book = book_of([0, 10, 20], targets)
    found = decide(book, at(10.0 * entry + 0.5)[0], targets[entry], 1.0)
    assert (found.entry, found.kept) == (entry, True)


def test_an_edit_that_lets_an_entry_grow_trains_its_value_further() -> None:
    """In a known re-implementation this fails, since earlier values have lost their gradient."""
    context, editor = EditContext(tiny()), GraceEditor(GraceConfig(**OPTIONS | {"radius": 50.0}))
    one = tiny_requests()[0]
    other = replace(one, prompt="So {} is made by")
    first = editor.edit(context, [one])
    second = editor.edit(
        context, [EditRequest(9, other.prompt, "Coral", one.target_new, "")], first.state
    )
    assert len(second.state) == second.diagnostics["entries"] == 1
    assert not torch.equal(first.state.values, second.state.values)


def test_routing_is_by_row_and_by_nearest_key() -> None:
    book = book_of([0, 4], [FIRST, SECOND])
    book = book.with_value(0, torch.tensor([7.0, 7.0])).with_value(1, torch.tensor([8.0, 8.0]))
    inputs = at(0.9, 1.1, 3.5, 9.0).reshape(2, 2, 2)
    outputs = torch.zeros(2, 2, 2)
    assert book.answers(inputs, outputs)[..., 0].tolist() == [[7.0, 0.0], [8.0, 0.0]]


def test_each_edit_answers_and_an_unrelated_prompt_is_unchanged() -> None:
    model = tiny()
    context, editor = EditContext(model), GraceEditor(GraceConfig(**OPTIONS))
    requests = tiny_requests()
    result = editor.edit(context, requests)
    assert result.diagnostics["entries"] == len(result.state) == len(requests)
    asked = [Question(r.text, r.target_new) for r in requests]
    other = Question("The sea is quiet in the", "morning")
    before = ask(model, tokenize_questions(model, [*asked, other]))
    with result.patch.applied(model.model):
        after = ask(model, tokenize_questions(model, [*asked, other]))
    assert all(after[question].accuracy == 1 for question in asked)
    assert after[other].log_probability == pytest.approx(before[other].log_probability)


def test_a_sequence_resumes_from_its_saved_state() -> None:
    context, editor = EditContext(tiny()), GraceEditor(GraceConfig(**OPTIONS))
    first, second, third = tiny_requests()
    state = editor.edit(context, [first, second]).state
    restored = editor.load_state(context, editor.save_state(state))
    assert restored.targets == state.targets
    through, again = (editor.edit(context, [third], each).state for each in (state, restored))
    for name, tensor in through.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
    together = editor.edit(context, [first, second, third]).state
    assert torch.equal(together.values, through.values)
    assert editor.load_state(context, editor.save_state(None)) is None


def test_what_does_not_fit_is_refused() -> None:
    context, editor = EditContext(tiny()), GraceEditor(GraceConfig(**OPTIONS))
    with pytest.raises(RequestError, match="nothing to edit"):
        editor.edit(context, [])
    patch = editor.edit(context, tiny_requests()[:1]).patch
    gpt2, _ = tiny_model("gpt2")
    with pytest.raises(PluginError, match="which the model does not have"):
        patch.check(gpt2)
