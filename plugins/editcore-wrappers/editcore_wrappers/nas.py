"""NAS: v* gets the norm that it has in the unedited model."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext, EditRequest, EditResult, ValueSite
from editcore.toolkit import EditorWrapper, LoadedModel, Value, mlp_values
from editcore_wrappers.config import NasConfig


class Nas(EditorWrapper[NasConfig]):
    """Norm-Anchor Scaling of the v* of any editor that searches for one."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """The editor's change for rescaled v*."""
        return self.inner.edit(self._anchored(context), requests, state)

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """The editor's changes for rescaled v*."""
        yield from self.inner.edit_each(self._anchored(context), requests)

    def _anchored(self, context: EditContext) -> EditContext:
        anchor = context.anchors[self.options.anchor(self.config)]
        rho = anchor.mean(self.options.dropped_share)
        return context.adjusting(partial(rescaled, rho=rho, limit=self.options.limit))


def rescaled(
    model: LoadedModel,
    requests: Sequence[EditRequest],
    values: Sequence[Value | str],
    site: ValueSite,
    *,
    rho: float,
    limit: float,
) -> list[Value | str]:
    """The values v scaled to the norm ρ; those with ‖v‖ > limit·ρ become the model's own output.

    With h = r + v, only v is scaled. Reasons for missing values stay.
    """
    sound = [(r, v) for r, v in zip(requests, values, strict=True) if isinstance(v, Value)]
    if not sound:
        return list(values)
    outputs = iter(mlp_values(model, [r for r, _ in sound], [v for _, v in sound], site))
    return [
        value if isinstance(value, str) else _scaled(value, next(outputs), rho, limit)
        for value in values
    ]


def _scaled(value: Value, output: Tensor, rho: float, limit: float) -> Value:
    """The value of one case, whose v is `output`."""
    norm = float(output.norm())
    if norm > limit * rho:
        return replace(value, delta=torch.zeros_like(value.delta))
    added = (rho / norm - 1) * output
    return replace(value, delta=value.delta + added.to(value.delta))
