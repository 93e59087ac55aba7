"""PMET: its search, and least squares with the square root of the layers left."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from editcore import EditContext, EditRequest, RequestError
from editcore.toolkit import (
    LowRankUpdate,
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

    def divisor(self, left: int) -> float:
        """The square root of the number of layers left, where MEMIT has the number."""
        return math.sqrt(left)

    def solver(self, context: EditContext, state: Any) -> Solve:
        """Δ = R Kᵀ (λC + K Kᵀ)⁻¹."""
        weight = self.config.moment_weight

        def solve(layer: int, shares: Tensor, keys: Tensor) -> LowRankUpdate:
            return solve_least_squares(shares, keys, context.moments[layer], weight)

        return solve

    def values(self, context: EditContext, requests: Sequence[EditRequest]) -> list[Value | str]:
        """The wanted MLP output of each request, searched for one by one."""
        templates = self.templates(context).templates
        searches = (self._value(context, request, templates) for request in requests)
        many = len(requests)
        return list(progress_bar(searches, total=many, title="v*", unit="case", shown=many > 1))

    def _value(
        self, context: EditContext, request: EditRequest, templates: Sequence[str]
    ) -> Value | str:
        try:
            problem = pose(context.model, request, templates)
            value = PairSearch(context.model, problem, self.config.layers[-1]).run(self.config)
        except RequestError as error:
            return str(error)
        return value if math.isfinite(value.loss) else NONFINITE
