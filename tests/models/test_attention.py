"""Attention of few tokens: torch's result and gradients, and where it is used."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from editcore.models.arithmetic import attention
from editcore.models.arithmetic.attention import NAME, short_attention
from editcore.models.arithmetic.kernels import use_fast_kernels
from editcore.models.loading import load_model
from editcore.testing import KINDS, tiny_model

WIDTH, SCALE = 8, 0.3


def tensors(heads: int, shared: int) -> tuple[torch.Tensor, ...]:
    """Queries, keys, values, and a causal mask with padding on the left."""
    torch.manual_seed(0)
    sizes = ((heads, 3), (shared, 7), (shared, 7))
    found = [torch.randn(5, n, length, WIDTH, requires_grad=True) for n, length in sizes]
    mask = torch.ones(3, 7, dtype=torch.bool).tril(4).expand(5, 1, -1, -1).clone()
    mask[1, :, :, :2] = False
    return *found, mask


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2), (4, 1)])
def test_result_and_gradients_are_torchs(heads: int, shared: int) -> None:
    *given, mask = tensors(heads, shared)
    gradient = torch.randn(5, heads, 3, WIDTH)
    plain = scaled_dot_product_attention(*given, mask, scale=SCALE, enable_gqa=True)
    ours = short_attention(*given, mask, SCALE)
    torch.testing.assert_close(ours, plain)
    pairs = (torch.autograd.grad(each, given, gradient) for each in (ours, plain))
    for found, expected in zip(*pairs, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_token_that_sees_nothing_is_finite() -> None:
    *given, mask = tensors(4, 2)
    mask[2, :, 0] = False
    assert short_attention(*given, mask, SCALE).isfinite().all()


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-llama"])
def test_a_loaded_model_uses_it_for_short_padded_rows_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = load_model(name, name).model
    assert model.config._attn_implementation == NAME
    used: list[int] = []

    def noted(query: torch.Tensor, *others: object) -> torch.Tensor:
        used.append(query.shape[2])
        return short_attention(query, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "short_attention", noted)
    ids = torch.arange(24).reshape(2, 12) + 5
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    with torch.no_grad():
        padded = model(input_ids=ids, attention_mask=mask).logits
        assert used == [12] * model.config.num_hidden_layers
        monkeypatch.setattr(attention, "SHORT", 100)
        torch.testing.assert_close(
            padded[:, 3:], model(input_ids=ids, attention_mask=mask).logits[:, 3:]
        )
    assert len(used) == model.config.num_hidden_layers


@pytest.mark.parametrize("kind", KINDS)
def test_fast_kernels_change_no_logits(kind: str) -> None:
    model, _ = tiny_model(kind)
    ids = torch.arange(20).reshape(2, 10) + 5
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    real = mask.bool()
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).logits[real]
        use_fast_kernels(model)
        after = model(input_ids=ids, attention_mask=mask).logits[real]
    torch.testing.assert_close(after, before)


def test_a_saved_model_does_not_know_of_it(tmp_path) -> None:
    load_model("tiny-llama", "tiny-llama").model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()
