"""Treated edited models are what treating each whole edited model gives, and leave no trace."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor

from editcore.errors import DataError, ModelError
from editcore.evaluation import rounding
from editcore.evaluation.perplexity import EditedPerplexity, measure, read_unedited, tokenize
from editcore.evaluation.teacher_forcing import CaseQuestions, ask, tokenize_questions
from editcore.evaluation.treatments.compression import Compression
from editcore.evaluation.treatments.fine_tuning import LENGTH, FineTuning
from editcore.evaluation.treatments.pruning import pruned
from editcore.evaluation.treatments.treated import FineTuned, Outcome, compressed
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import SENTENCES, tiny_model, tiny_requests
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

KINDS = ("gpt2", "llama")
HOW = {
    "8-bit": rounding.compression(8, "cpu"),
    "4-bit": rounding.compression(4, "cpu"),
    "pruned": Compression(partial(pruned, share=0.3), head=False),
}


def loaded(kind: str, precision: str = "float32") -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind), precision)


def weights(model: LoadedModel) -> dict[str, Tensor]:
    found = {**model.model.state_dict(), **dict(model.frozen.model.named_buffers())}
    return {name: tensor.clone() for name, tensor in found.items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def some_deltas(model: LoadedModel) -> list[Delta]:
    """A low-rank change of one matrix, dense ones of two, and one of a matrix and a norm."""
    torch.manual_seed(0)
    first, last = model.parts.down_weight(0), model.parts.down_weight(2)
    d_out, d_in = sorted(model.model.get_parameter(first).shape)
    norm = next(n for n, p in model.model.named_parameters() if p.ndim == 1 and ".1." in n)
    low = LowRankUpdate(torch.randn(d_out, 2), torch.randn(d_in, 2) / 8)
    dense = DenseUpdate(torch.randn(d_out, d_in) / 8)
    bend = DenseUpdate(torch.randn(model.model.get_parameter(norm).shape) / 8)
    return [
        Delta({first: low}),
        Delta({first: dense, last: dense}),
        Delta({last: low, norm: bend}),
    ]


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return loaded(request.param)


@pytest.fixture
def asked(model: LoadedModel):
    questions = [CaseQuestions(request, "{}").all() for request in tiny_requests()[:3]]
    return [tokenize_questions(model, each) for each in questions]


@pytest.mark.parametrize("name", HOW)
def test_a_compressed_edited_model_is_the_compressed_one_and_the_change(
    model: LoadedModel, name: str
) -> None:
    how, before = HOW[name], weights(model)
    deltas = some_deltas(model)
    changes = how.of_edits(model, deltas)
    assert equal(before, weights(model))
    for delta, change in zip(deltas, changes, strict=True):
        assert change.updates.keys() == delta.updates.keys()
        with delta.applied(model.model), how.applied(model):
            whole = weights(model)
        with how.applied(model), change.applied(model.model):
            by_parts = weights(model)
        for parameter, tensor in whole.items():
            if parameter in delta.updates:
                torch.testing.assert_close(by_parts[parameter], tensor, rtol=0, atol=1e-6)
                assert not torch.equal(before[parameter], tensor)
            else:
                assert torch.equal(by_parts[parameter], tensor)
    assert equal(before, weights(model))


@pytest.mark.parametrize("name", HOW)
def test_many_at_once_answer_as_each_whole_edited_model_after_the_treatment(
    model: LoadedModel, name: str, asked
) -> None:
    how, before, texts = HOW[name], weights(model), tokenize(model, SENTENCES)
    deltas = some_deltas(model)
    found = compressed(model, texts, how, asked, deltas)
    assert equal(before, weights(model))
    for delta, tokens, outcome in zip(deltas, asked, found, strict=True):
        with how.applied(model):
            assert_answers(outcome.before, ask(model, tokens))
            assert outcome.unedited.mean == pytest.approx(measure(model, texts).mean)
        with delta.applied(model.model), how.applied(model):
            assert_answers(outcome.after, ask(model, tokens))
            assert outcome.edited.mean == pytest.approx(measure(model, texts).mean, rel=1e-4)


@pytest.mark.parametrize("name", HOW)
def test_an_edit_kept_beside_a_compressed_model_is_added_to_its_weights(
    model: LoadedModel, name: str, asked
) -> None:
    how, before, texts = HOW[name], weights(model), tokenize(model, SENTENCES)
    deltas = some_deltas(model)
    found = compressed(model, texts, how, asked, deltas, beside=True)
    assert equal(before, weights(model))
    for delta, tokens, outcome in zip(deltas, asked, found, strict=True):
        with how.applied(model):
            unedited = read_unedited(model, texts)
            assert outcome.unedited.mean == pytest.approx(unedited.perplexity.mean)
            with delta.applied(model.model):
                assert_answers(outcome.after, ask(model, tokens))
                now = EditedPerplexity(model, texts, unedited.predictions).now(0)
        assert outcome.edited.mean == pytest.approx(now.mean, rel=1e-4)
        assert outcome.edited.disturbance is not None and now.disturbance is not None
        assert outcome.edited.disturbance.kept == pytest.approx(now.disturbance.kept)


def assert_answers(found, expected) -> None:
    assert found.keys() == expected.keys()
    for question, answer in expected.items():
        assert found[question].predicted == answer.predicted
        assert found[question].log_probability == pytest.approx(answer.log_probability, abs=1e-4)


def test_pruning_sets_the_smallest_share_to_zero_and_nothing_else() -> None:
    weight = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    found = pruned(weight, 0.3)
    gone = found == 0
    assert gone.sum() == int(0.3 * 350)
    assert weight[gone].abs().max() < weight[~gone].abs().min()
    assert torch.equal(found[~gone], weight[~gone])
    assert torch.equal(pruned(weight, 0.001), weight)


def test_pruning_leaves_the_head_as_it_is_and_rounding_does_not() -> None:
    model = loaded("llama")
    before = model.model.lm_head.weight.clone()
    assert model.model.lm_head.weight is not model.model.get_input_embeddings().weight
    for name, how in HOW.items():
        with how.applied(model):
            assert torch.equal(before, model.model.lm_head.weight) is (name == "pruned")


def tuning(model: LoadedModel, steps: int = 4, rate: float = 1e-3, seed: int = 0) -> FineTuning:
    return FineTuning.drawn(model, SENTENCES, steps, rate, seed)


def trained(model: LoadedModel, how: FineTuning) -> dict[str, Tensor]:
    """The weights of a copy that torch's own loop of a training step has trained."""
    twin = copy.deepcopy(model.model)
    inside = [p for n, p in twin.named_parameters() if model.parts.block_of(n) is not None]
    for parameter in inside:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(inside, lr=how.learning_rate, weight_decay=0)
    for ids in how.batches:
        optimiser.zero_grad()
        twin(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
    return twin.state_dict()


def test_fine_tuning_is_adamw_on_the_blocks_and_is_taken_back_bit_by_bit(
    model: LoadedModel,
) -> None:
    before, how = weights(model), tuning(model)
    expected = trained(model, how)
    with how.applied(model):
        for name, tensor in model.model.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
            inside = model.parts.block_of(name) is not None
            assert inside or torch.equal(tensor, before[name])
        assert not equal(before, weights(model))
    assert equal(before, weights(model))
    assert not any(p.requires_grad or p.grad is not None for p in model.model.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_each_edited_model_is_fine_tuned_alike_and_by_itself(precision: str) -> None:
    model = loaded("llama", precision)
    questions = [CaseQuestions(request, "{}").all() for request in tiny_requests()[:3]]
    asked = [tokenize_questions(model, each) for each in questions]
    before, how, texts = weights(model), tuning(model), tokenize(model, SENTENCES)
    tuned = FineTuned(model, texts, how, asked)
    found: list[Outcome] = []
    for case, delta in enumerate(some_deltas(model)):
        found.append(tuned.outcome(case, delta))
        assert equal(before, weights(model))
    for case, delta in enumerate(some_deltas(model)):
        alone = loaded("llama", precision)
        delta.add_to(alone.model)
        alone.model.load_state_dict(trained(alone, how))
        alone.follow(before.keys() & dict(alone.model.named_parameters()).keys())
        assert_answers(found[case].after, ask(alone, asked[case]))
        assert found[case].edited.mean == pytest.approx(measure(alone, texts).mean, rel=1e-3)
    with how.applied(model):
        assert_answers(found[0].before, ask(model, asked[0]))
    assert len({outcome.unedited.mean for outcome in found}) == 1


def test_batches_follow_from_the_seed_and_use_all_rows_before_any_again() -> None:
    model = loaded("gpt2")
    texts = SENTENCES * 8
    one, same, other = (FineTuning.drawn(model, texts, 30, 1e-3, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, one.batches, same.batches))
    assert not all(map(torch.equal, one.batches, other.batches))
    rows = [tuple(row) for batch in one.batches for row in batch.tolist()]
    width = min(LENGTH, model.max_positions)
    distinct = len(set(rows))
    assert {len(row) for row in rows} == {width}
    assert 2 < distinct < len(rows) and len(set(rows[:distinct])) == distinct


def test_small_steps_are_not_lost_in_weights_of_16_bits() -> None:
    model, half = loaded("llama"), loaded("llama")
    half.model.to(torch.bfloat16)
    how, name = tuning(model, steps=30, rate=5e-5), model.parts.down_weight(1)
    before, before_half = (each.model.get_parameter(name).clone() for each in (model, half))
    with how.applied(model), how.applied(half):
        moved = model.model.get_parameter(name) - before
        moved_half = half.model.get_parameter(name).float() - before_half.float()
    assert torch.equal(half.model.get_parameter(name), before_half)
    # Numbers of 16 bits are 2⁻¹¹ apart here, so each step alone would be rounded away.
    here = (before.abs() > 2**-4) & (before.abs() < 2**-3)
    assert how.learning_rate < 2**-12
    share = (moved_half[here] * moved[here]).sum() / (moved[here] ** 2).sum()
    assert 0.5 < share < 1.5


def test_a_loss_that_is_not_finite_is_an_error_and_leaves_no_trace() -> None:
    model = loaded("gpt2")
    name = model.parts.down_weight(1)
    shape = model.model.get_parameter(name).T.shape
    broken = Delta({name: DenseUpdate(torch.full(shape, float("inf")))})
    before = weights(model)
    tuned = FineTuned(model, tokenize(model, SENTENCES), tuning(model), [])
    with pytest.raises(ModelError, match=r"not finite; choose a smaller survival\.learning_rate"):
        tuned.outcome(0, broken)
    assert equal(before, weights(model))
    with pytest.raises(DataError, match="fewer than two tokens"):
        FineTuning.drawn(model, [""], 1, 1e-3, 0)
