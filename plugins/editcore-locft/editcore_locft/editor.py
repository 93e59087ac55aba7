"""The edit itself: facts become rows of tokens, and the tuned parameters a dense delta."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    Delta,
    DenseUpdate,
    LoadedModel,
    TargetRow,
    stores_transposed,
    target_row,
)
from editcore_locft.config import LocftConfig
from editcore_locft.tuning import Tuned, tune

NONFINITE = "fine-tuning met a non-finite loss; nothing was edited"


class LocftEditor(Editor[LocftConfig]):
    """Fine-tuning of one matrix or one block over all facts of a batch."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Tune one change for all facts; `RequestError` if one of them cannot be tokenised."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        facts = [_fact(context.model, request) for request in requests]
        orders = shuffled(len(facts), context.seed)
        return _result(context.model, tune(context.model, facts, self.config, orders))


def shuffled(facts: int, seed: int) -> Iterator[list[int]]:
    """A random order of the facts for every epoch; the seed decides all of them."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randperm(facts, generator=generator).tolist()


def _fact(model: LoadedModel, request: EditRequest) -> TargetRow:
    return target_row(model, request.text, request.target_new, end_of_text=True)


def _result(model: LoadedModel, tuned: Tuned) -> EditResult:
    diagnostics = {"steps": tuned.steps, "loss": tuned.loss}
    changes = {
        name: DenseUpdate(change.T if stores_transposed(model.model, name) else change)
        for name, change in tuned.changes.items()
    }
    delta = Delta(changes)
    if not math.isfinite(tuned.loss) or not delta.finite():
        return EditResult(None, NONFINITE, diagnostics)
    return EditResult(delta, diagnostics=diagnostics)
