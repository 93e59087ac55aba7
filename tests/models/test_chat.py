"""What a chat template puts around prompts is what transformers puts there, in the same tokens."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editcore import EditRequest, Probe
from editcore.errors import ModelError
from editcore.models.chat import turn_of
from editcore.models.loading import LoadedModel, load_model, wrap_model
from editcore.models.tokenization import tokenize_prompt
from editcore.requests import Turn
from editcore.testing.models import tiny_model, tiny_requests, tiny_tokenizer
from tests import chats
from tests.conftest import ModelSaver

SAID = ("Coral is made by", "Who makes it?", "x")


def chatting(template: str, *, bos: bool = False) -> Any:
    tokenizer = tiny_tokenizer(bos=bos)
    tokenizer.chat_template = template
    return tokenizer


def in_chat(tokenizer: Any, said: str, answer: str | None = None, **given: Any) -> list[int]:
    """The tokens that transformers itself makes of a message, and of its answer."""
    messages = [{"role": "user", "content": said}]
    messages += [] if answer is None else [{"role": "assistant", "content": answer}]
    given |= {"return_dict": False, "add_generation_prompt": answer is None}
    return list(tokenizer.apply_chat_template(messages, **given))


def model_with(template: str, *, bos: bool = False) -> LoadedModel:
    model, _ = tiny_model("llama", bos=bos)
    tokenizer = chatting(template, bos=bos)
    return replace(wrap_model("tiny", model, tokenizer), turn=turn_of("tiny", tokenizer))


@pytest.mark.parametrize("bos", [False, True], ids=["no-start", "start"])
@pytest.mark.parametrize("name", chats.ALL)
def test_prompts_and_targets_have_the_tokens_of_the_model_s_own_chat(name: str, bos: bool) -> None:
    template = chats.ALL[name]
    known = {"enable_thinking": False} if name == "thinking" else {}
    dated = template.replace("{{ strftime_now('%d %B %Y') }}", "26 July 2024")
    model = model_with(template, bos=bos)
    reference = chatting(dated, bos=bos)
    for said in SAID:
        prompt = model.turn.of(said)
        ids = model.tokenizer(prompt)["input_ids"]
        asked = in_chat(reference, said, **known)
        assert ids[: len(asked)] == asked
        assert ids.count(0) == asked.count(0)
        target = model.target_ids(prompt, "Osdor")
        whole = in_chat(reference, said, "Osdor")
        assert [*ids, *target] == whole[: len(ids) + len(target)]
        assert whole[len(ids) + len(target)] == 0, "nothing of the answer is missing"


def test_a_template_s_own_system_message_is_kept() -> None:
    turn = turn_of("tiny", chatting(chats.LINES))
    assert turn == Turn(
        f"{chats.START}{chats.SYSTEM}\n# user\n", f"{chats.START}\n# assistant\n", ""
    )
    stripped = turn_of("tiny", chatting(chats.LINES, bos=True))
    assert stripped == replace(turn, opening=turn.opening.removeprefix(chats.START))


def test_targets_outside_the_chat_are_as_without_one() -> None:
    model, plain = model_with(chats.JOINED), wrap_model("plain", *tiny_model("llama"))
    assert model.target_ids("Coral is", "Elro") == plain.target_ids("Coral is", "Elro")
    assert model.target_ids(model.turn.of("Coral is"), "Elro") != plain.target_ids("It is", "Elro")
    assert plain.tokenizer.decode(plain.target_ids("Answer:\n", "Elro")) == "Elro"


def test_the_subject_is_found_inside_a_chat() -> None:
    model = model_with(chats.LINES, bos=True)
    for request in model.posed(tiny_requests()):
        place = tokenize_prompt(model.tokenizer, request.prompt, request.subject)
        said = model.tokenizer.decode(place.ids[: place.subject + 1])
        assert said.endswith(request.subject)
        assert said.startswith(f"{chats.START}{chats.SYSTEM}\n# user\n")


def test_a_flawed_request_keeps_its_flaw() -> None:
    empty = EditRequest(1, "", "", "Elro", "")
    probe = EditRequest(2, "{} is", "Coral", "Elro", "", neighbours=(Probe("", "Elro"),))
    model = model_with(chats.LINES)
    for request in (empty, probe):
        assert request.flaw
        assert model.posed([request]) == [request]


@pytest.mark.parametrize(
    ("template", "bos", "reason"),
    [
        (None, False, "has no chat template"),
        ("{{ raise_exception('two speakers only') }}", False, "two speakers only"),
        ("{{ messages[0]['content'] * 2 }}", False, "does not repeat a user's message once"),
        ("{{ '{}' + messages[0]['content'] }}", False, "contains {}"),
        ("# user: {{ messages[0]['content'] }}", True, "not the .* of apply_chat_template"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_in_one_sentence(
    template: str | None, bos: bool, reason: str
) -> None:
    with pytest.raises(ModelError, match=reason) as refused:
        turn_of("tiny", chatting(template, bos=bos))
    assert "leave `chat` out" in str(refused.value)


def test_a_base_model_is_refused_when_it_is_loaded(saved_model: ModelSaver) -> None:
    folder: Path = saved_model("llama")
    assert load_model("tiny", str(folder)).turn == Turn()
    with pytest.raises(ModelError, match="'tiny' has no chat template"):
        load_model("tiny", str(folder), chat=True)
