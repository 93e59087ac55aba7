"""If memory runs out, a batch is halved, and the results stay the same."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from editcore.config.value_options import ValueOptions
from editcore.evaluation import perplexity, teacher_forcing
from editcore.keyvalue import keys, value_search
from editcore.keyvalue.estimation import moment_accumulator
from editcore.keyvalue.keys import tokenize_templates
from editcore.models.batch_size import in_halves
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import SENTENCES, tiny_model, tiny_requests
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

TEMPLATES = ("{}", "The day was long. {}", "You said it. {}")
REQUESTS = tiny_requests()


@pytest.fixture
def model() -> LoadedModel:
    return wrap_model("llama", *tiny_model("llama"))


@contextmanager
def room_for(model: LoadedModel, rows: int) -> Iterator[list[int]]:
    """Let a pass over more than so many rows run out of memory; yields the sizes that did."""
    refused: list[int] = []

    def refuse(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], named: dict) -> None:
        given = inputs[0] if inputs else named.get("input_ids", named.get("inputs_embeds"))
        if len(given) > rows:
            refused.append(len(given))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    handle = model.model.base_model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        yield refused
    finally:
        handle.remove()


def deltas(model: LoadedModel) -> list[Delta]:
    name = model.parts.down_weight(1)
    shape = model.model.get_parameter(name).shape
    draw = torch.Generator().manual_seed(0)
    low = [
        LowRankUpdate(
            torch.randn(shape[0], 1, generator=draw), 0.1 * torch.randn(shape[1], 1, generator=draw)
        )
        for _ in range(2)
    ]
    dense = DenseUpdate(0.1 * torch.randn(shape, generator=draw))
    return [Delta({name: update}) for update in (*low, dense)]


def test_halves_come_in_order_and_a_single_item_s_error_is_raised() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if len(items) > 1 or 7 in items:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
        return list(items)

    assert [found for _, found in in_halves(work, range(5))] == [[0], [1], [2], [3], [4]]
    with pytest.raises(RuntimeError, match="allocate"):
        list(in_halves(work, (6, 7)))


def test_other_errors_are_raised_at_once() -> None:
    tries = []

    def work(items: Sequence[int]) -> None:
        tries.append(len(items))
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_halves(work, (1, 2)))
    assert tries == [2]


def test_perplexity_is_the_same_if_memory_runs_out(model: LoadedModel) -> None:
    texts = perplexity.tokenize(model, SENTENCES)
    whole = perplexity.measure(model, texts)
    edited = perplexity.EditedPerplexity(model, texts).of(deltas(model))
    with room_for(model, 1) as refused:
        torch.testing.assert_close(perplexity.measure(model, texts).nll, whole.nll)
        again = perplexity.EditedPerplexity(model, texts).of(deltas(model))
    assert refused
    for one, other in zip(edited, again, strict=True):
        torch.testing.assert_close(one.nll, other.nll)


def test_answers_are_the_same_if_memory_runs_out(model: LoadedModel) -> None:
    asked = [
        teacher_forcing.tokenize_questions(
            model, teacher_forcing.CaseQuestions(r, TEMPLATES[1]).all()
        )
        for r in REQUESTS
    ]
    alone = teacher_forcing.ask(model, asked[0])
    pairs = teacher_forcing.ask_edited(model, asked, deltas(model))
    with room_for(model, 2) as refused:
        assert teacher_forcing.ask(model, asked[0]).keys() == alone.keys()
        again = teacher_forcing.ask_edited(model, asked, deltas(model))
    assert refused
    for both, both_again in zip(pairs, again, strict=True):
        for one, other in zip(both, both_again, strict=True):
            assert [a.predicted for a in one.values()] == [a.predicted for a in other.values()]


def test_keys_are_the_same_if_memory_runs_out(model: LoadedModel) -> None:
    prompts = [tokenize_templates(model, request, TEMPLATES) for request in REQUESTS]
    whole = keys.collect_keys(model, 1, prompts)
    with room_for(model, 1) as refused:
        again = keys.collect_keys(model, 1, prompts)
    assert refused
    for one, other in zip(whole, again, strict=True):
        torch.testing.assert_close(one.keys, other.keys)


def test_moments_are_the_same_if_memory_runs_out(model: LoadedModel) -> None:
    whole = moment_accumulator.measure_moments(model, [0, 1], SENTENCES, 10_000)
    with room_for(model, 2) as refused:
        again = moment_accumulator.measure_moments(model, [0, 1], SENTENCES, 10_000)
    assert refused
    for layer, one in whole.items():
        torch.testing.assert_close(one.matrix, again[layer].matrix, rtol=1e-5, atol=1e-6)
        assert one.tokens == again[layer].tokens


def test_values_are_the_same_if_memory_runs_out(model: LoadedModel) -> None:
    options = ValueOptions(layer=1, steps=3)
    whole = value_search.find_values(model, REQUESTS, TEMPLATES, options)
    with room_for(model, 2 * (len(TEMPLATES) + 1)) as refused:
        again = value_search.find_values(model, REQUESTS, TEMPLATES, options)
    assert refused
    for one, other in zip(whole, again, strict=True):
        torch.testing.assert_close(one.target, other.target, rtol=1e-4, atol=1e-4)
