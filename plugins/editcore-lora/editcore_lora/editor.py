"""The edit itself: facts become rows of tokens, and the merged adapters a low-rank delta."""

import math
from collections.abc import Sequence
from typing import Any

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import Delta, target_row
from editcore_lora.config import LoraEditConfig
from editcore_lora.tuning import tune

NONFINITE = "the training of adapters met a non-finite loss; nothing was edited"


class LoraEditor(Editor[LoraEditConfig]):
    """Low-rank adapters, trained on all facts of a batch."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Train one change for all facts; `RequestError` if one of them cannot be tokenised."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        facts = [target_row(context.model, r.text, r.target_new) for r in requests]
        tuned = tune(context.model, facts, self.config, context.seed)
        diagnostics = {"steps": float(tuned.steps), "loss": tuned.loss}
        delta = Delta(tuned.updates)
        if not math.isfinite(tuned.loss) or not delta.finite():
            return EditResult(None, NONFINITE, diagnostics)
        return EditResult(delta, diagnostics=diagnostics)
