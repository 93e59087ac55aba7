"""Texts that many edited models generate at once are those of each model alone."""

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_letters

import pytest
import torch

from editcore.evaluation.generation import (
    Generated,
    continuations,
    edited_answers,
    unedited_answers,
)
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import KINDS, tiny_model, tiny_requests
from editcore.updates.change import Change
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, Update
from tests.patches import Noise

TOKENS = 6


def drawn(model: LoadedModel, layer: int, seed: int, scale: float = 1.0) -> dict[str, Update]:
    """A rank-one change of one down-projection."""
    name = model.parts.down_weight(layer)
    shape = model.model.get_parameter(name).shape
    d_out, d_in = reversed(shape) if stores_transposed(model.model, name) else shape
    draw = torch.Generator().manual_seed(seed)
    factors = (torch.randn(n, 1, generator=draw) for n in (d_out, d_in))
    return {name: LowRankUpdate(*(scale * factor for factor in factors))}


def dense(model: LoadedModel, layer: int, seed: int) -> Delta:
    """The same as a dense matrix, with the map's bias if it has one."""
    ((name, update),) = drawn(model, layer, seed).items()
    bias = name.removesuffix("weight") + "bias"
    updates: dict[str, Update] = {name: DenseUpdate(update.dense())}
    if bias in dict(model.model.named_parameters()):
        updates[bias] = DenseUpdate(torch.linspace(-3, 3, len(update.dense())))
    return Delta(updates)


def changes(model: LoadedModel) -> list[Change]:
    """Changes that share passes, some of which break the model, and some that cannot."""
    outside = [n for n, _ in model.model.named_parameters() if model.parts.block_of(n) is None]
    shape = model.model.get_parameter(outside[-1]).shape
    return [
        Delta(drawn(model, 1, 1)),
        dense(model, 1, 2),
        Delta(drawn(model, 1, 3, scale=1e25)),
        Noise.at(model, 1, seed=4, size=3.0),
        Delta(drawn(model, 1, 5) | drawn(model, 2, 6)),
        Delta({outside[-1]: DenseUpdate(torch.linspace(-2, 2, shape.numel()).reshape(shape))}),
        dense(model, 2, 7),
        dense(model, 1, 8),
        Delta({}),
    ]


def alone(model: LoadedModel, prompt: str, change: Change) -> str:
    """The text after one prompt, with the change in the weights."""
    with change.applied(model.model):
        return continuations(model, [prompt], TOKENS)[0]


def texts_of(answers: Sequence[Sequence[Generated]]) -> list[list[str]]:
    """The texts of each edit's answers."""
    return [[answer.text for answer in own] for own in answers]


def by_definition(model: LoadedModel, prompt: str) -> list[int]:
    """The tokens by their definition: the whole row is read for each, and the best one added."""
    row = list(model.tokenizer(prompt)["input_ids"])
    start = len(row)
    while len(row) < min(start + TOKENS, model.max_positions):
        logits = model.model(torch.tensor([row])).logits[0, -1]
        if not logits.isfinite().all():
            break
        row.append(int(logits.argmax()))
        if row[-1] == model.tokenizer.eos_token_id:
            break
    return row[start:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_is_the_most_probable_one_by_definition(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    prompts = [request.text for request in tiny_requests()]
    for change in changes(model):
        with change.applied(model.model):
            tokens = [by_definition(model, prompt) for prompt in prompts]
            expected = model.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            assert continuations(model, prompts, TOKENS) == expected


def test_the_checkpoint_s_own_settings_are_not_used() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    prompts = [request.text for request in tiny_requests()]
    expected = continuations(model, prompts, TOKENS)
    model.model.generation_config.repetition_penalty = 50.0
    model.model.generation_config.min_new_tokens = TOKENS + 1
    assert continuations(model, prompts, TOKENS) == expected
    assert model.model.generation_config.repetition_penalty == 50.0


def test_nothing_is_added_beyond_the_last_position_or_the_end_of_text() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    prompt = tiny_requests()[0].text
    length, tokens = len(model.tokenizer(prompt)["input_ids"]), by_definition(model, prompt)
    short = replace(model)
    short.__dict__["max_positions"] = length + 2
    assert continuations(short, [prompt], TOKENS) == continuations(model, [prompt], 2)
    short.__dict__["max_positions"] = length
    assert continuations(short, [prompt], TOKENS) == [""]
    model.tokenizer.eos_token = model.tokenizer.convert_ids_to_tokens(tokens[1])
    assert tokens[0] != tokens[1]
    # The new end is not a special token, so its text is kept.
    assert continuations(model, [prompt], TOKENS) == [model.tokenizer.decode(tokens[:2])]


@pytest.mark.parametrize("kind", KINDS)
def test_each_edited_model_generates_what_it_generates_alone(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    given = changes(model)
    texts = [request.text for request in tiny_requests()]
    # One, two or three prompts of each, and not in the same order.
    prompts = [[texts[(i + k) % len(texts)] for k in range(1 + i % 3)] for i in range(len(given))]
    answers = edited_answers(model, prompts, given, TOKENS)
    said = texts_of(answers)
    assert said == [
        [alone(model, prompt, change) for prompt in own]
        for own, change in zip(prompts, given, strict=True)
    ]
    assert len({after for own in said for after in own}) > 3
    assert said[2] == ["", "", ""]
    assert [all(answer.finite for answer in own) for own in answers].count(False) == 1
    singly = [
        texts_of(edited_answers(model, [own], [change], TOKENS))[0]
        for own, change in zip(prompts, given, strict=True)
    ]
    assert said == singly


@pytest.mark.parametrize("kind", KINDS)
def test_the_unedited_model_continues_many_prompts_as_each_alone(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    prompts = [request.text for request in tiny_requests()]
    answers = unedited_answers(model, prompts, TOKENS)
    assert texts_of([answers]) == [continuations(model, prompts, TOKENS)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_ends_before_the_first_stop_in_it(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    given = changes(model)
    prompts = [[request.text for request in tiny_requests()]] * len(given)
    whole = texts_of(edited_answers(model, prompts, given, TOKENS))
    letters = [letter for own in whole for text in own for letter in text[1:]]
    # One from within some answers, and one that none has.
    stops = (next(letter for letter in letters if letter in ascii_letters), "§")
    said = texts_of(edited_answers(model, prompts, given, TOKENS, stops))
    assert said == [[text.split(stops[0])[0] for text in own] for own in whole]
    assert said != whole


def test_a_small_budget_gives_the_same_in_smaller_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    given = changes(model)
    prompts = [[tiny_requests()[0].text]] * len(given)
    whole = edited_answers(model, prompts, given, TOKENS)
    monkeypatch.setattr("editcore.evaluation.overlay.budget", lambda _: 1)
    assert edited_answers(model, prompts, given, TOKENS) == whole


def test_without_edits_there_is_no_text_and_no_hook_stays() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    assert edited_answers(model, [], [], TOKENS) == []
    edited_answers(model, [[tiny_requests()[0].text]], [dense(model, 1, 0)], TOKENS)
    assert not any(module._forward_hooks for module in model.model.modules())
