"""PMET: its search, and least squares with the square root of the layers left."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from editcore import EditContext, EditRequest, RequestError
from editcore.toolkit import (
    LowRankUpdate,
    Site,
    Solve,
    SpreadingEditor,
    Value,
    pose,
    progress_bar,
    solve_least_squares,
)
from editcore_pmet.config import PmetConfig
from editcore_pmet.search import PairSearch

NONFINITE = "the search met a non-finite loss; nothing was edited"


class PmetEditor(SpreadingEditor[PmetConfig]):
    """PMET, for one fact, or for many in one change."""

    site: ClassVar[Site] = "mlp"

    def divisor(self, left: int) -> float:
        """The square root of the number of layers left, where MEMIT has the number."""
        return math.sqrt(left)

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + K Kᵀ)⁻¹."""
        weight = self.config.moment_weight

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            return solve_least_squares(shares, keys, context.moments[layer], weight)

        return solve

    def values(
        self, context: EditContext, requests: Sequence[EditRequest], templates: Sequence[str]
    ) -> list[Value | str]:
        """The wanted MLP output of each request, searched for one by one."""
        several = len(requests) > 1
        found = (self._value(context, request, templates) for request in requests)
        return list(
            progress_bar(found, total=len(requests), title="v*", unit="case", shown=several)
        )

    def _value(
        self, context: EditContext, request: EditRequest, templates: Sequence[str]
    ) -> Value | str:
        try:
            problem = pose(context.model, request, templates)
            value = PairSearch(context.model, problem, self.config.layers[-1]).run(self.config)
        except RequestError as error:
            return str(error)
        return value if math.isfinite(value.loss) else NONFINITE
