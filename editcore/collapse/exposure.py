"""What running text gets of a rank-one update, as a share of what the edited subject gets.

A rank-one update of direction u, solved at the key k_s, adds |uᵀx| / |uᵀk_s| of its numerator to
the output at a token with input x. This is known before v* is searched for, which determines the
numerator. An edit harms a model if ordinary tokens get much of it; or if the first position does,
whose key is unlike all others, and which all later tokens attend to ("The Fall of ROME", §4).
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from editcore.collapse.running_text import RunningText
from editcore.updates.delta import Delta, LowRankUpdate


@dataclass(frozen=True)
class Exposure:
    """Measures rank-one updates of one model on running text, before they are made."""

    text: RunningText

    def along(self, parameter: str, direction: Float[Tensor, " d_in"], denominator: float) -> float:
        """The mean of |uᵀx| / |uᵀk_s| over all tokens, or over those at the first position.

        The larger of the two. `direction` is u, of any length, and `denominator` is |uᵀk_s| of u at
        unit length; infinite if that is 0.
        """
        seen = self.text.at(parameter.rpartition(".")[0])
        unit = direction.to(seen.inputs) / direction.norm().to(seen.inputs)
        shares = (seen.inputs @ unit).abs()
        most = max(float(shares.mean()), float(shares[seen.first].mean()))
        return most / denominator if denominator else math.inf

    def of(self, delta: Delta, denominator: float | None) -> float | None:
        """That of a finished update; None unless it is of rank one, of one linear map in a block.

        None also without a denominator.
        """
        if denominator is None or len(delta.updates) != 1:
            return None
        (name, update), *_ = delta.updates.items()
        if not isinstance(update, LowRankUpdate) or update.inputs.shape[1] != 1:
            return None
        if not self.text.covers(name):
            return None
        return self.along(name, update.inputs[:, 0], denominator)
