"""The chat of a real instruction-tuned model, SmolLM2-135M-Instruct, from its GGUF file."""

from dataclasses import replace

import pytest
import torch

from editcore import EditRequest
from editcore.editing.editor import EditContext
from editcore.editing.session import make_editor
from editcore.evaluation.teacher_forcing import Question, ask, tokenize_questions
from editcore.keyvalue.keys import unprefixed
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.models.loading import LoadedModel, load_model
from editcore.models.tokenization import tokenize_prompt
from editcore.registry.registry import load_registry
from editcore.requests import OK, Turn
from tests.smollm2 import fetched

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
CHATML = Turn(
    f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    "",
)
FACT = EditRequest(0, "The mother tongue of {} is", "Danielle Darrieux", "English", "French")
START, END = "<|im_start|>", "<|im_end|>"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("smollm2", fetched(), chat=True)


def test_its_chat_is_chatml_with_its_own_system_message(model: LoadedModel) -> None:
    assert model.turn == CHATML
    assert all(len(model.tokenizer(token)["input_ids"]) == 1 for token in (START, END))
    (request,) = model.posed([FACT])
    start, end = (model.tokenizer.convert_tokens_to_ids(token) for token in (START, END))
    place = tokenize_prompt(model.tokenizer, request.prompt, request.subject)
    assert (place.ids.count(start), place.ids.count(end)) == (3, 2)
    assert model.tokenizer.decode(place.ids[: place.subject + 1]).endswith("Danielle Darrieux")
    target = model.target_ids(request.text, "English")
    assert model.tokenizer.decode(target) == "English"


def test_rome_edits_it_in_the_chat(model: LoadedModel) -> None:
    """The new object becomes the beginning of its answer."""
    info = load_registry().editors["rome"].record
    given = {
        "layer": 7,
        "steps": 25,
        "weight_decay": 0.001,
        "clamp_norm_factor": 4.0,
        "learning_rate": 0.5,
        "second_moment": False,
    }
    config = info.config.model_validate({**given, "key_strategy": "unprefixed"})
    context = EditContext(model, ContextPrefixes(("{}",), "smollm2", 0), {}, 0)
    context = replace(context, key_strategy=unprefixed)
    (request,) = model.posed([FACT])
    result = make_editor(info, config).edit(context, [request])
    assert result.status == OK and result.delta is not None
    question = Question(request.text, FACT.target_new)
    tokens = tokenize_questions(model, [question])
    before = ask(model, tokens)[question]
    with result.delta.applied(model.model):
        after = ask(model, tokens)[question]
        ids = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": FACT.text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=False,
        )
        with torch.no_grad():
            first = int(model.model(ids).logits[0, -1].argmax())
    assert before.accuracy < 1 and after.accuracy == 1
    assert first == model.target_ids(request.text, FACT.target_new)[0]
