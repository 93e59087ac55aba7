"""Perplexity in buckets equals perplexity text by text, and broken models are detected."""

import math

import pytest
import torch

from editcore.editing.reference import perplexity_of_each
from editcore.errors import DataError
from editcore.evaluation import perplexity
from editcore.models.loading import wrap_model
from editcore.testing.models import KINDS, SENTENCES, tiny_model


@pytest.mark.parametrize("kind", KINDS)
def test_bucketed_equals_plain(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    found = perplexity.measure(model, perplexity.tokenize(model, SENTENCES))
    torch.testing.assert_close(
        found.per_text, perplexity_of_each(model, SENTENCES), rtol=1e-4, atol=0
    )
    assert found.mean == pytest.approx(float(perplexity_of_each(model, SENTENCES).mean()), rel=1e-4)


def test_small_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    whole = perplexity.measure(model, perplexity.tokenize(model, SENTENCES))
    monkeypatch.setattr(perplexity, "tokens_per_pass", lambda _: 40)
    monkeypatch.setattr(perplexity, "rows_of_logits", lambda _: 3)
    texts = perplexity.tokenize(model, SENTENCES)
    assert len(texts.batches) > 2
    torch.testing.assert_close(
        perplexity.measure(model, texts).nll, whole.nll, rtol=1e-5, atol=1e-4
    )


def test_the_corpus_weighs_tokens_and_the_mean_weighs_texts() -> None:
    found = perplexity.Perplexity(
        torch.tensor([math.log(2.0), 3 * math.log(8.0)], dtype=torch.float64),
        torch.tensor([1, 3]),
        torch.tensor([0, 0]),
    )
    assert found.mean == pytest.approx(5.0)
    assert found.corpus == pytest.approx(2 ** (10 / 4))


def test_non_finite_logits_are_counted_and_never_averaged_away() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    texts = perplexity.tokenize(model, SENTENCES)
    with torch.no_grad():
        model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    found = perplexity.measure(model, texts)
    assert torch.equal(found.nonfinite, found.tokens)
    assert found.mean == math.inf
    assert found.corpus == math.inf


def test_a_text_of_one_token_is_refused() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    with pytest.raises(DataError, match="two tokens"):
        perplexity.tokenize(model, ["Coral"])
