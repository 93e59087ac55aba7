"""Cross-entropy over a tied output matrix in slices that stay in the processor's cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SLICE = 512


class SlicedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of hidden [n, d] against targets [n] through weight [v, d].

    The gradients are computed slice by slice in the forward pass, with bfloat16 products and
    float32 sums; no [n, v] tensor is ever in memory.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss and keep both gradients."""
        rows, half = hidden.to(torch.bfloat16), weight.to(torch.bfloat16)
        grad_hidden, grad_weight = torch.empty_like(rows), torch.zeros_like(weight)
        loss = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(rows), SLICE):
            part = slice(start, start + SLICE)
            probabilities = (rows[part] @ half.T).float()
            loss += _softmax_loss_(probabilities, target[part, None])
            gradient = probabilities.div_(len(rows)).to(torch.bfloat16)
            grad_hidden[part] = gradient @ half
            grad_weight += gradient.T @ rows[part]
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.hidden_dtype = hidden.dtype
        return loss / len(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """Scale the kept gradients."""
        grad_hidden, grad_weight = ctx.saved_tensors
        return (grad_hidden * grads[0]).to(ctx.hidden_dtype), grad_weight * grads[0], None


def _softmax_loss_(logits: Tensor, target: Tensor) -> Tensor:
    """Turn logits [n, v] in place into d(sum of losses)/d(logits); return that sum."""
    peak = logits.amax(1, keepdim=True)
    chosen = logits.gather(1, target)
    logits.sub_(peak).exp_()
    total = logits.sum(1, keepdim=True)
    loss = (total.log() + peak - chosen).sum()
    logits.div_(total).scatter_add_(1, target, torch.full_like(chosen, -1.0))
    return loss
