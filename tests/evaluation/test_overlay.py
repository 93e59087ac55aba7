"""Edited models read in one pass give what each gives with its weights changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from editcore.evaluation import perplexity
from editcore.evaluation.overlay import Applied, Overlay, edited_models
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity
from editcore.evaluation.teacher_forcing import CaseQuestions, ask, ask_edited, tokenize_questions
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import KINDS, SENTENCES, tiny_model, tiny_requests
from editcore.updates.change import Change
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate
from tests.patches import Noise


def low_rank(model: LoadedModel, names: list[str], *, rank: int = 1, seed: int = 0) -> Delta:
    torch.manual_seed(seed)
    updates = {}
    for name in names:
        shape = model.model.get_parameter(name).shape
        d_out, d_in = reversed(shape) if stores_transposed(model.model, name) else shape
        updates[name] = LowRankUpdate(torch.randn(d_out, rank), torch.randn(d_in, rank) / 4)
    return Delta(updates)


def dense(delta: Delta) -> Delta:
    return Delta({name: DenseUpdate(update.dense()) for name, update in delta.updates.items()})


@contextmanager
def really(model: LoadedModel, delta: Change) -> Iterator[LoadedModel]:
    with delta.applied(model.model):
        yield model


def assert_same_perplexity(found: Perplexity, plain: Perplexity) -> None:
    torch.testing.assert_close(found.nll, plain.nll, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.tokens, plain.tokens)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [(0,), (1,), (1, 2)], ids=str)
def test_perplexity_of_several_edits_at_once(kind: str, layers: tuple[int, ...]) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    texts = perplexity.tokenize(model, SENTENCES)
    names = [model.parts.down_weight(layer) for layer in layers]
    deltas = [low_rank(model, names, rank=rank, seed=rank) for rank in (1, 2, 1)]
    for delta, found in zip(deltas, EditedPerplexity(model, texts).of(deltas), strict=True):
        with really(model, delta):
            assert_same_perplexity(found, perplexity.measure(model, texts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [1 << 29, 1], ids=["together", "alone"])
def test_whole_matrices_and_biases_share_passes(
    kind: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    texts = perplexity.tokenize(model, SENTENCES)
    name = model.parts.down_weight(1)
    bias = name.removesuffix("weight") + "bias"
    deltas = [dense(low_rank(model, [name], seed=seed)) for seed in range(3)]
    if bias in dict(model.model.named_parameters()):
        moved = {bias: DenseUpdate(torch.linspace(-3, 3, model.model.get_parameter(bias).numel()))}
        deltas += [Delta(dict(delta.updates) | moved) for delta in deltas[:2]] + [Delta(moved)]
    monkeypatch.setattr("editcore.evaluation.overlay.budget", lambda _: budget)
    groups = edited_models(model, deltas)
    assert all(isinstance(group, Overlay) for group in groups)
    assert {group.start.at_down for group in groups} == {model.anatomy.joins}
    assert len(groups) == len(deltas) if budget == 1 else len(groups) in (1, 3)
    for delta, found in zip(deltas, EditedPerplexity(model, texts).of(deltas), strict=True):
        with really(model, delta):
            assert_same_perplexity(found, perplexity.measure(model, texts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first_layer", [1, None])
def test_a_patch_is_measured_in_place_from_its_first_layer(
    kind: str, first_layer: int | None
) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    texts = perplexity.tokenize(model, SENTENCES)
    patches = [replace(Noise.at(model, 1, seed), first_layer=first_layer) for seed in (0, 1)]
    unedited = perplexity.measure(model, texts)
    for patch, found in zip(patches, EditedPerplexity(model, texts).of(patches), strict=True):
        with really(model, patch):
            assert_same_perplexity(found, perplexity.measure(model, texts))
        assert found.mean != pytest.approx(unedited.mean, rel=1e-3)
    assert torch.equal(perplexity.measure(model, texts).nll, unedited.nll)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_before_and_after_each_cases_own_edit(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    names = [model.parts.down_weight(1)]
    asked = [
        tokenize_questions(model, CaseQuestions(request, "Therefore. {}").all())
        for request in tiny_requests()
    ]
    deltas: list[Change] = [low_rank(model, names, seed=seed) for seed in range(2)]
    deltas.append(Noise.at(model, 1, seed=2))
    for delta, case, (before, after) in zip(
        deltas, asked, ask_edited(model, asked, deltas), strict=True
    ):
        for found, plain in ((before, ask(model, case)), (after, _asked(model, delta, case))):
            assert found.keys() == plain.keys()
            for question, answer in plain.items():
                assert found[question].predicted == answer.predicted
                assert found[question].log_probability == pytest.approx(
                    answer.log_probability, rel=1e-4
                )
    assert any(before[q] != after[q] for q in before)


def _asked(model: LoadedModel, delta: Change, case):
    with really(model, delta):
        return ask(model, case)


def test_changes_that_cannot_share_passes_are_mixed_with_those_that_can() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    texts = perplexity.tokenize(model, SENTENCES)
    down, up = (f"model.layers.1.mlp.{part}_proj.weight" for part in ("down", "up"))
    norm = Delta({"model.norm.weight": DenseUpdate(torch.ones(32))})
    head = Delta({"lm_head.weight": low_rank(model, ["lm_head.weight"]).updates["lm_head.weight"]})
    deltas = [
        low_rank(model, [down]),
        dense(low_rank(model, [up])),
        low_rank(model, [up, down], seed=3),
        norm,
        head,
        Delta({}),
    ]
    kinds = {i: type(group) for group in edited_models(model, deltas) for i in group.members}
    assert [kinds[i] for i in range(6)] == [Overlay, Overlay, Overlay, Applied, Applied, Applied]
    for delta, found in zip(deltas, EditedPerplexity(model, texts).of(deltas), strict=True):
        with really(model, delta):
            assert_same_perplexity(found, perplexity.measure(model, texts))


def test_the_weights_stay_or_come_back_bit_by_bit() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    before = {n: p.clone() for n, p in model.model.named_parameters()}
    delta = low_rank(model, [model.parts.down_weight(1)])
    texts = perplexity.tokenize(model, SENTENCES)
    EditedPerplexity(model, texts).of([delta, dense(delta)])
    assert all(torch.equal(p, before[n]) for n, p in model.model.named_parameters())


def test_an_edit_that_breaks_the_model_leaves_its_neighbours_in_the_batch_alone() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    texts = perplexity.tokenize(model, SENTENCES)
    names = [model.parts.down_weight(1)]
    good = low_rank(model, names)
    huge = Delta(
        {n: LowRankUpdate(u.outputs * 1e38, u.inputs * 1e3) for n, u in good.updates.items()}
    )
    edited = EditedPerplexity(model, texts)
    first, broken, second = edited.of([good, huge, good])
    assert broken.mean == float("inf")
    assert int(broken.nonfinite.sum()) > 0
    assert_same_perplexity(first, second)
    assert_same_perplexity(first, edited.of([good])[0])
