"""Logits in bfloat16, precise enough to compare an edited model with the unedited one.

bfloat16 cannot tell a logit of 15 from one of 15.03. With rounded logits the likeliest tokens would
be tied, and the smallest edit would change which is first. So the unedited model's logits are
computed in float32, and bfloat16 is only for what an edit adds to them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn

from editcore.models.arithmetic.precision import rounded_product, rounded_weight

ROUNDED = "rounded"
"""The buffer of a head's weight in bfloat16."""


@dataclass(frozen=True)
class KnownLogits:
    """Last hidden states, and the logits that the head gives for them."""

    hidden: Float[Tensor, "*row d_last"]
    logits: Float32[Tensor, "*row vocabulary"]

    def at(self, rows: Bool[Tensor, " row"] | Int[Tensor, " chosen"]) -> "KnownLogits":
        """Those of some rows."""
        return KnownLogits(self.hidden[rows], self.logits[rows])


def round_head(head: nn.Linear) -> None:
    """Keep the head's weight in bfloat16, too; again after each change of it."""
    head.register_buffer(ROUNDED, rounded_weight(head), persistent=False)


def is_rounded(head: nn.Module) -> bool:
    """Whether `logits_near` can be used."""
    return hasattr(head, ROUNDED)


def logits_near(
    head: nn.Module, known: KnownLogits, hidden: Float[Tensor, "*row d_last"]
) -> Float32[Tensor, "*row vocabulary"]:
    """Logits by those known for other states, and the head's product with the difference.

    The difference, not the logits, is what bfloat16 rounds.
    """
    weight = head.get_buffer(ROUNDED)
    return known.logits + rounded_product(hidden - known.hidden, weight, torch.bfloat16)
