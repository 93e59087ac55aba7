"""The edit itself: the search for z at the last layer, and the change of all layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import TokenizedPrompt, Value, find_values, tokenize_templates
from editcore_memit.config import MemitConfig
from editcore_memit.contexts import Contexts, choose
from editcore_memit.spread import Spreading, spread

NONFINITE_CHANGE = "the least-squares update is not finite; nothing was edited"


@dataclass(frozen=True)
class Sought:
    """A case with its z."""

    prompts: tuple[TokenizedPrompt, ...]
    value: Value


class MemitEditor(Editor[MemitConfig]):
    """MEMIT, for one fact, or for many in one change."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """One change for all facts; `RequestError` if one of several cannot be edited."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        if len(requests) == 1:
            return next(self.edit_each(context, requests))
        cases: list[Sought] = []
        for request, found in zip(requests, self._seek(context, requests), strict=True):
            if isinstance(found, str):
                raise RequestError(f"case {request.case_id}: {found}; leave it out of the batch")
            cases.append(found)
        return self._write(context, cases)

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each fact alone; the z of all are found together, before any weight changes."""
        for found in self._seek(context, requests):
            if isinstance(found, str):
                yield EditResult(None, found)
            else:
                yield self._write(context, [found])

    def _seek(self, context: EditContext, requests: Sequence[EditRequest]) -> list[Sought | str]:
        """For each request its z, or the reason why there is none."""
        templates = self._contexts(context).templates
        values = find_values(context.model, requests, templates, self.config.value_options())
        return [
            value
            if isinstance(value, str)
            else Sought(tuple(tokenize_templates(context.model, request, templates)), value)
            for request, value in zip(requests, values, strict=True)
        ]

    def _write(self, context: EditContext, cases: Sequence[Sought]) -> EditResult:
        """One change for all cases."""
        delta = spread(
            context.model,
            [case.prompts for case in cases],
            torch.stack([case.value.target for case in cases]),
            Spreading(
                self.config.layers,
                context.moments,
                self.config.moment_weight,
                self._contexts(context).weights,
            ),
        )
        if not delta.finite():
            return EditResult(None, NONFINITE_CHANGE)
        losses = [case.value.loss for case in cases]
        steps = max(case.value.steps for case in cases)
        return EditResult(delta, diagnostics={"steps": steps, "loss": sum(losses) / len(losses)})

    def _contexts(self, context: EditContext) -> Contexts:
        assert context.prefixes is not None
        return choose(context.prefixes, self.config.sampled_templates)
