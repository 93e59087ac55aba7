"""How far predictions moved: the exact divergence, edit by edit, whatever shares a pass."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from editcore.evaluation import disturbance
from editcore.evaluation.disturbance import Disturbance, Likeliest
from editcore.evaluation.perplexity import EditedPerplexity, measure, read_unedited, tokenize
from editcore.models import batch_size
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import SENTENCES, tiny_model
from editcore.updates.delta import Delta
from tests.evaluation.test_overlay import dense, low_rank, really


def log_probabilities(tokens: int, vocabulary: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return log_softmax(3 * torch.randn(tokens, vocabulary), dim=-1)


def exact(before: Tensor, after: Tensor) -> Tensor:
    return kl_div(after.double(), before.double(), reduction="none", log_target=True).sum(1)


def test_divergence_is_exact_if_the_vocabulary_is_small() -> None:
    before, after = (log_probabilities(50, disturbance.LIKELIEST, seed) for seed in (0, 1))
    found = Disturbance.between(Likeliest.of(before), after)
    torch.testing.assert_close(found.divergence, exact(before, after), rtol=1e-4, atol=1e-5)
    assert found.same.tolist() == (before.argmax(1) == after.argmax(1)).tolist()


def test_divergence_is_a_lower_bound_and_finds_most_of_it_in_a_large_vocabulary() -> None:
    before, after = (log_probabilities(50, 5000, seed) for seed in (0, 1))
    near = log_softmax(before + 0.1 * after, dim=-1)
    found = Disturbance.between(Likeliest.of(before), near).divergence
    whole = exact(before, near)
    assert (found <= whole + 1e-6).all()
    assert found.mean() > 0.85 * whole.mean()


def test_nothing_moved_without_a_change() -> None:
    before = log_probabilities(50, 5000, 0)
    found = Disturbance.between(Likeliest.of(before), before)
    assert found.mean == pytest.approx(0.0, abs=1e-7)
    assert found.upper == pytest.approx(0.0, abs=1e-7)
    assert found.kept == 1.0


def test_divergence_of_numbers_that_are_not_finite_is_infinite() -> None:
    before = log_probabilities(4, 300, 0)
    after = before.clone()
    after[2, 7] = math.nan
    found = Disturbance.between(Likeliest.of(before), log_softmax(after, dim=-1))
    assert found.divergence.isinf().tolist() == [False, False, True, False]
    assert math.isinf(found.mean)


def test_upper_tail_is_the_99th_percentile() -> None:
    found = Disturbance(torch.arange(1.0, 201.0).double(), torch.ones(200, dtype=torch.bool))
    assert found.upper == 198.0


def plainly(model: LoadedModel, delta: Delta) -> Disturbance:
    """The same from two whole readings of each text alone."""
    parts = []
    for text in SENTENCES:
        ids = torch.tensor([model.tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            before = log_softmax(model.model(ids).logits[0, :-1].float(), dim=-1)
            with really(model, delta):
                after = log_softmax(model.model(ids).logits[0, :-1].float(), dim=-1)
        parts.append(Disturbance.between(Likeliest.of(before), after))
    return Disturbance.joined(parts)


# gemma2 caps its logits, and granite scales them.
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2", "granite"])
@pytest.mark.parametrize("budget", [1 << 29, 1], ids=["together", "alone"])
def test_several_edits_in_one_pass_are_each_measured_by_its_own_tokens(
    kind: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "CPU_BUDGET", budget)
    model = wrap_model(kind, *tiny_model(kind))
    texts = tokenize(model, SENTENCES)
    edited = EditedPerplexity(model, texts, read_unedited(model, texts).predictions)
    deltas = [low_rank(model, [model.parts.down_weight(1)], seed=seed) for seed in (1, 2, 3)]
    for delta, found in zip(deltas, edited.of([*deltas[:2], dense(deltas[2])]), strict=True):
        plain = plainly(model, delta)
        assert found.disturbance is not None
        assert found.disturbance.mean == pytest.approx(plain.mean, rel=1e-4, abs=1e-6)
        assert found.disturbance.upper == pytest.approx(plain.upper, rel=1e-4, abs=1e-6)
        assert found.disturbance.kept == pytest.approx(plain.kept)


def test_reading_predictions_changes_no_perplexity() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    texts = tokenize(model, SENTENCES)
    unedited = read_unedited(model, texts).perplexity
    assert torch.equal(unedited.nll, measure(model, texts).nll)
    assert unedited.disturbance is None
