"""Attention of few tokens, as in the search for v*, where torch's kernel is slow.

torch's attention on a CPU is made for long rows. In the search a few tokens after the subject read
a few dozen, in many rows and heads. Four small products of batches then take a third of the time.
"""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME, BASE = "editcore", "sdpa"
SHORT = 2**10
"""How many pairs of tokens, in one row and head, still take less time here."""


def use_short_attention(model: PreTrainedModel) -> None:
    """Let a model on a CPU that uses torch's attention read short rows as this module does.

    Not all that use torch's can use another; transformers knows which.
    """
    by_torch = model.config._attn_implementation == BASE
    if model.device.type != "cpu" or not by_torch or not model._supports_attention_backend:
        return
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config._attn_implementation = NAME


def _attention(
    module: nn.Module,
    query: Float[Tensor, "row head position d_head"],
    key: Float[Tensor, "row shared whole d_head"],
    value: Float[Tensor, "row shared whole d_head"],
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "row position head d_head"], None]:
    """What transformers calls: ours for short rows with a plain mask, else torch's."""
    others = {name: given for name, given in others.items() if given is not None}
    if dropout == 0.0 and _is_short(query, key, value, attention_mask) and not SPECIAL & {*others}:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        assert attention_mask is not None
        return short_attention(query, key, value, attention_mask, scale).transpose(1, 2), None
    given = {"dropout": dropout, "scaling": scaling, **others}
    return sdpa_attention_forward(module, query, key, value, attention_mask, **given)


SPECIAL = {"position_bias", "cache", "softcap", "s_aux"}
"""What changes attention itself; only torch's way knows it."""


def _is_short(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    if mask is None or mask.dtype != torch.bool or mask.ndim != 4 or mask.shape[1] != 1:
        return False
    pairs = query.shape[2] * key.shape[2]
    return pairs <= SHORT and key.shape == value.shape and mask.shape[-1] == key.shape[2]


def short_attention(
    query: Float[Tensor, "row head position d_head"],
    key: Float[Tensor, "row shared whole d_head"],
    value: Float[Tensor, "row shared whole d_head"],
    mask: Bool[Tensor, "row 1 position whole"],
    scale: float,
) -> Float[Tensor, "row head position d_head"]:
    """softmax(scale Q Kᵀ) V over what the mask shows; heads may share keys and values."""
    return cast(Tensor, _Short.apply(query, key, value, mask, scale))  # type: ignore[no-untyped-call]


class _Short(torch.autograd.Function):
    """Heads that share keys are folded into one product with these."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float
    ) -> Tensor:
        rows, heads, positions, width = query.shape
        shared, whole = key.shape[1:3]
        folded = (query * scale).reshape(rows * shared, -1, width)
        keys, values = (each.reshape(rows * shared, whole, width) for each in (key, value))
        scores = torch.bmm(folded, keys.mT).view(rows, heads, positions, whole)
        # The least number instead of -inf, so that a token that sees none has a finite output.
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
        chances = scores.softmax(-1).view(rows * shared, -1, whole)
        ctx.save_for_backward(folded, keys, values, chances)
        ctx.scale, ctx.shape = scale, key.shape
        return torch.bmm(chances, values).view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (of_output,) = gradients
        folded, keys, values, chances = ctx.saved_tensors
        given = of_output.reshape(folded.shape)
        of_chances = torch.bmm(given, values.mT)
        of_scores = torch._softmax_backward_data(of_chances, chances, -1, chances.dtype)
        of_query = torch.bmm(of_scores, keys).mul_(ctx.scale).view(of_output.shape)
        every = (torch.bmm(of_scores.mT, folded), torch.bmm(chances.mT, given))
        of_key, of_value = (each.view(ctx.shape) for each in every)
        return of_query, of_key, of_value, None, None
