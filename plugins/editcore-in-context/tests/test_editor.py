"""The memory of facts, nearness, the conformance suite, and the effect on a bundled model."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from editcore_in_context.config import InContextConfig, RetrievalConfig
from editcore_in_context.editor import InContextEditor, RetrievalEditor
from editcore_in_context.nearness import Index
from editcore_in_context.patch import InContextPatch
from pydantic import ValidationError

from editcore import EditContext, EditRequest, PluginError, RequestError
from editcore.testing import EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import LoadedModel, wrap_model

FIVE = ("gpt2", "llama", "qwen3", "gpt-neox", "opt")


class TestConformanceInContext(EditorConformance):
    editor = "in-context"
    kinds = FIVE


class TestConformanceRetrieval(EditorConformance):
    editor = "retrieval"
    kinds = FIVE


class TestConformanceRetrievalOfNearFacts(EditorConformance):
    editor = "retrieval"
    kinds = ("gpt2", "bloom")
    options: ClassVar[dict[str, Any]] = {"least": 0.5}


def tiny(kind: str = "llama", **options: Any) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind, **options))


def text_of(model: LoadedModel, *requests: EditRequest, **options: Any) -> str:
    editor, state = InContextEditor(InContextConfig(**options)), None
    for request in requests:
        result = editor.edit(EditContext(model), [request], state)
        state = result.state
    (text,) = result.patch.texts()
    return str(model.tokenizer.decode(text))


def test_facts_are_lines_in_their_order_and_a_batch_is_a_sequence() -> None:
    model, (first, second, third) = tiny(), tiny_requests()
    lines = (
        "New Fact: Coral is made by Osdor\n"
        "New Fact: The maker of Harbor is Elro\n"
        "New Fact: The mother tongue of Anna Lindqvist is Elro\nPrompt: "
    )
    assert text_of(model, first, second, third) == lines
    batch = InContextEditor(InContextConfig()).edit(EditContext(model), [first, second, third])
    assert model.tokenizer.decode(batch.patch.texts()[0]) == lines


def test_the_newer_of_two_facts_with_one_prompt_replaces_the_older() -> None:
    model, (first, second, _) = tiny(), tiny_requests()
    again = replace(first, target_new="Tavel")
    assert text_of(model, first, second, again, lead="") == (
        "New Fact: The maker of Harbor is Elro\nNew Fact: Coral is made by Tavel\n"
    )


def test_memory_keeps_the_latest_facts() -> None:
    model = tiny()
    found = text_of(model, *tiny_requests(), memory=1, line="{target}: {prompt}. ", lead="")
    assert found == "Elro: The mother tongue of Anna Lindqvist is. "


def test_a_prompt_that_contains_the_other_part_is_written_as_it_is() -> None:
    assert InContextConfig(line="{prompt} {target}").written("a {target}", "b") == "a {target} b"


@pytest.mark.parametrize("line", ["{prompt}", "{target}", "{prompt} {prompt} {target}"])
def test_a_line_without_both_parts_is_refused(line: str) -> None:
    with pytest.raises(ValidationError, match="needs one"):
        InContextConfig(line=line)


@pytest.mark.parametrize(
    "editor", [InContextEditor(InContextConfig()), RetrievalEditor(RetrievalConfig())]
)
def test_a_sequence_resumes_from_its_saved_state(editor: Any) -> None:
    context, (first, second, third) = EditContext(tiny()), tiny_requests()
    state = editor.edit(context, [first, second]).state
    restored = editor.load_state(context, editor.save_state(state))
    assert restored == state and len(state) == 2
    through, again = (editor.edit(context, [third], each) for each in (state, restored))
    assert through.state == again.state
    assert through.patch.texts() == again.patch.texts()
    assert editor.load_state(context, editor.save_state(None)) is None


def test_what_does_not_fit_is_refused() -> None:
    requests = tiny_requests()
    small = EditContext(tiny("gpt2", n_positions=40))
    editor = InContextEditor(InContextConfig())
    with pytest.raises(RequestError, match="nothing to edit"):
        editor.edit(small, [])
    state = editor.edit(small, requests[:1]).state
    with pytest.raises(RequestError, match=r"model has 40 positions.*keep fewer facts"):
        editor.edit(small, requests[1:], state)
    latest = InContextEditor(InContextConfig(memory=1))
    assert latest.edit(small, requests[1:2], state).state == editor.edit(small, requests[1:2]).state
    with pytest.raises(RequestError, match="target ' ' has no words"):
        editor.edit(small, [replace(requests[0], target_new=" ")])
    with pytest.raises(PluginError, match="use the model that they were edited in"):
        InContextPatch((1, 10_000)).check(small.model.model)


def test_rare_words_count_more_than_common_ones() -> None:
    """log 4 of log 4 + log 2, and the other way round; the case of letters does not count."""
    index = Index.of(["is lamp", "is sea", "is reef"])
    assert index.nearest("THE LAMP", 0.66) == 0
    assert index.nearest("the lamp", 0.67) is None
    assert index.nearest("it is", 0.33) == 2
    assert index.nearest("it is", 0.34) is None


def test_of_equally_near_facts_the_latest_counts() -> None:
    index = Index.of(["Coral is made by", "Harbor is made by"])
    assert index.nearest("Tavel is made by", 0) == 1
    assert index.nearest("quite unrelated", 0) == 1


def test_no_fact_is_near_enough_below_least() -> None:
    index = Index.of(["Coral is"])
    assert index.nearest("Coral", 0.5) == 0
    assert index.nearest("Coral", 0.51) is None
    assert Index.of(["..."]).nearest("Coral", 0.01) is None
