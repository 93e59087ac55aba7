"""C is the mean of k kᵀ over tokens, whatever the batches, and solves like its inverse."""

from pathlib import Path

import pytest
import torch

from editcore import moments, trace
from editcore.errors import DataError
from editcore.models import wrap
from editcore.testing.models import SENTENCES, tiny_model


def keys_one_by_one(model, layer: int) -> torch.Tensor:
    found = []
    for text in SENTENCES:
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad(), trace.recording(model.layout.down(layer)) as seen:
            model.model(ids)
        found.append(seen.input[0].double())
    return torch.cat(found)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_streamed_equals_direct(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrap(kind, *tiny_model(kind))
    keys = keys_one_by_one(model, 1)
    direct = keys.T @ keys / len(keys)
    for batch_tokens in (64, 8192):
        monkeypatch.setattr(moments, "BATCH_TOKENS", batch_tokens)
        measured = moments.measure(model, 1, SENTENCES, 10**9)
        assert measured.tokens == len(keys)
        torch.testing.assert_close(measured.matrix, direct, rtol=1e-4, atol=1e-6)


def test_the_budget_is_kept_to_the_token() -> None:
    model = wrap("gpt2", *tiny_model("gpt2"))
    keys = keys_one_by_one(model, 0)[:70]
    measured = moments.measure(model, 0, SENTENCES, 70)
    assert measured.tokens == 70
    torch.testing.assert_close(measured.matrix, keys.T @ keys / 70, rtol=1e-4, atol=1e-6)


def test_solve_is_the_inverse() -> None:
    samples = torch.randn(50, 8, dtype=torch.float64)
    matrix = samples.T @ samples / 50
    moment = moments.from_matrix(0, matrix, 50)
    keys = torch.randn(3, 8)
    torch.testing.assert_close(moment.solve(keys), keys.double() @ torch.linalg.inv(matrix))


def test_fewer_tokens_than_dimensions_gets_a_ridge_or_an_error() -> None:
    key = torch.randn(1, 5, dtype=torch.float64)
    few = moments.from_matrix(0, key.T @ key, 1)
    assert few.solve(key[0]).isfinite().all()
    with pytest.raises(DataError, match="more tokens"):
        moments.from_matrix(3, -torch.eye(5), 1)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    samples = torch.randn(50, 8)
    moment = moments.from_matrix(2, samples.T @ samples / 50, 50)
    moments.save(moment, tmp_path / "c.safetensors", {"job": "x"})
    again = moments.load(tmp_path / "c.safetensors")
    assert (again.layer, again.tokens) == (2, 50)
    assert torch.equal(again.factor, moment.factor)
    with pytest.raises(DataError, match="absent"):
        moments.load(tmp_path / "absent.safetensors")
