"""The edit itself: requests become problems, which are tuned in batches, and changes deltas."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import Delta, DenseUpdate
from editcore_ft.config import FtConfig
from editcore_ft.tuning import Problem, Tuned, pose, tune

NONFINITE = "fine-tuning met a non-finite loss; nothing was edited"


class FtEditor(Editor[FtConfig]):
    """Fine-tuning of one down-projection, with its bias if it has one."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Tune one change for all requests; `RequestError` if one of them cannot be tokenised."""
        problem = pose(context.model, requests, self.config.loss)
        return self._result(context, next(tune(context.model, [problem], self.config)))

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Tune a change for each request alone, many in a batch."""
        posed = [self._pose(context, request) for request in requests]
        sound = [problem for problem in posed if isinstance(problem, Problem)]
        found = tune(context.model, sound, self.config)
        for problem in posed:
            if isinstance(problem, str):
                yield EditResult(None, problem)
            else:
                yield self._result(context, next(found))

    def _pose(self, context: EditContext, request: EditRequest) -> Problem | str:
        try:
            return pose(context.model, [request], self.config.loss)
        except RequestError as error:
            return str(error)

    def _result(self, context: EditContext, tuned: Tuned) -> EditResult:
        weight = context.model.parts.down_weight(self.config.layer)
        changes = {weight: tuned.weight}
        if tuned.bias is not None:
            changes[f"{weight.removesuffix('.weight')}.bias"] = tuned.bias
        diagnostics = {"steps": tuned.steps, "loss": tuned.loss}
        if not math.isfinite(tuned.loss) or not all(map(_finite, changes.values())):
            return EditResult(None, NONFINITE, diagnostics)
        updates = {name: DenseUpdate(change) for name, change in changes.items()}
        return EditResult(Delta(updates), diagnostics=diagnostics)


def _finite(change: torch.Tensor) -> bool:
    return bool(change.isfinite().all())
