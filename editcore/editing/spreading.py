"""Base classes of editors of MEMIT's family, which differ in how one layer's change is solved."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.config.spreading_options import SpreadingOptions
from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.editing.values import adjusted, found_values
from editcore.errors import RequestError
from editcore.keyvalue.keys import tokenize_templates
from editcore.keyvalue.prefixes import WeightedTemplates
from editcore.keyvalue.spread import Solve, observe, site_of, spread
from editcore.keyvalue.value import Value
from editcore.models.tokenization import TokenizedPrompt
from editcore.requests import EditRequest
from editcore.updates.delta import Delta, Update

NONFINITE_CHANGE = "the least-squares update is not finite; nothing was edited"
SpreadingT = TypeVar("SpreadingT", bound=SpreadingOptions)
LayerKeys = Mapping[int, Float[Tensor, "d_key case"]]
"""The keys K of an edit's cases, by layer."""


@dataclass(frozen=True)
class Sought:
    """A case with its z."""

    prompts: tuple[TokenizedPrompt, ...]
    value: Value


class SpreadingEditor(Editor[SpreadingT]):
    """Finds z for each fact, and spreads the change that reaches it over the edited layers.

    A subclass has its own `solver`; one with memory also overrides `remember`, and one whose z is
    found or shared out in another way `values` and `divisor`. Where z is, its options say.
    """

    @abstractmethod
    def solver(self, context: EditContext, state: Any) -> Solve:
        """How the change of one layer is found, after the edits that `state` remembers.

        Raises `RequestError` if these options leave nothing to edit.
        """

    def remember(self, context: EditContext, state: Any, delta: Delta, keys: LayerKeys) -> Any:
        """The state after an edit with this change and these keys, as `write` returns them."""
        return None

    def report(self, context: EditContext, state: Any, keys: LayerKeys) -> Mapping[str, float]:
        """Diagnostics besides the number of steps and the loss."""
        return {}

    def values(self, context: EditContext, requests: Sequence[EditRequest]) -> list[Value | str]:
        """For each request its z, or the reason why there is none; wrappers adjust it later."""
        return found_values(context, requests, self.config.value_options())

    def templates(self, context: EditContext) -> WeightedTemplates:
        """The templates of the search and of the keys."""
        assert context.prefixes is not None
        return context.prefixes.weighted(self.config.sampled_templates)

    def divisor(self, left: int) -> float:
        """What the residual is divided by at a layer; `left` counts it and those above."""
        return float(left)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """One change for all facts; `RequestError` if one of several cannot be edited."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        cases: list[Sought] = []
        for request, found in zip(requests, self._seek(context, requests), strict=True):
            if isinstance(found, Sought):
                cases.append(found)
            elif len(requests) == 1:
                return EditResult(None, found)
            else:
                raise RequestError(f"case {request.case_id}: {found}; leave it out of the batch")
        return self._write(context, cases, state)

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each fact alone; the z of all are found together, before any weight changes."""
        for found in self._seek(context, requests):
            if isinstance(found, str):
                yield EditResult(None, found)
                continue
            try:
                yield self._write(context, [found], self.start(context))
            except RequestError as error:
                yield EditResult(None, str(error))

    def _seek(self, context: EditContext, requests: Sequence[EditRequest]) -> list[Sought | str]:
        """For each request its z and its prompts, or the reason why there is none."""
        templates = self.templates(context).templates
        site = self.config.value_options()
        values = adjusted(context, requests, self.values(context, requests), site)
        return [
            value
            if isinstance(value, str)
            else Sought(tuple(tokenize_templates(context.model, request, templates)), value)
            for request, value in zip(requests, values, strict=True)
        ]

    def write(
        self, context: EditContext, cases: Sequence[Sought], solve: Solve
    ) -> tuple[Delta, LayerKeys]:
        """The change that brings the cases to their z, and their keys in the edited model.

        A layer's key depends on the layers below it alone, which are changed before it is read.
        """
        keys: dict[int, Tensor] = {}

        def solve_and_keep(layer: int, shares: Tensor, found: Tensor) -> Update:
            keys[layer] = found
            return solve(layer, shares, found)

        return self.spread(context, cases, solve_and_keep), keys

    def spread(self, context: EditContext, cases: Sequence[Sought], solve: Solve) -> Delta:
        """The change of the edited layers, each by `solve`."""
        prompts = [case.prompts for case in cases]
        targets = torch.stack([case.value.target for case in cases])
        weights = self.templates(context).weights
        layers, site = self.config.layers, self.config.value_options().site
        return spread(context.model, prompts, targets, layers, weights, solve, site, self.divisor)

    def observe(
        self, context: EditContext, cases: Sequence[Sought], layer: int
    ) -> tuple[Float[Tensor, "d_key case"], Float[Tensor, "d_model case"]]:
        """The cases' keys at a layer, and the outputs that z is wanted for, in the model now."""
        prompts, weights = [case.prompts for case in cases], self.templates(context).weights
        wanted = self.config.value_options()
        end = site_of(context.model, wanted.layer, wanted.site)
        keys, reached = observe(context.model, layer, end, prompts, weights)
        return keys.T, reached.T

    def _write(self, context: EditContext, cases: Sequence[Sought], state: Any) -> EditResult:
        """One change for all cases."""
        delta, keys = self.write(context, cases, self.solver(context, state))
        if not delta.finite():
            return EditResult(None, NONFINITE_CHANGE, state=state)
        found = {
            "steps": max(case.value.steps for case in cases),
            "loss": sum(case.value.loss for case in cases) / len(cases),
            **self.report(context, state, keys),
        }
        after = self.remember(context, state, delta, keys)
        return EditResult(delta, diagnostics=found, state=after)


class RememberingEditor(SpreadingEditor[SpreadingT]):
    """Remembers, for each layer, the sum S of K Kᵀ over all edits; the state is S by `str(layer)`.

    S is float64 on the processor. The state before the first edit is None.
    """

    def memory(self, state: Mapping[str, Tensor], layer: int) -> Float64[Tensor, "d_key d_key"]:
        """S of a layer."""
        return state[str(layer)]

    def remember(
        self, context: EditContext, state: Any, delta: Delta, keys: LayerKeys
    ) -> Mapping[str, Tensor]:
        """The state with the keys of one more edit."""
        return {str(layer): self._sum(state, layer, found) for layer, found in keys.items()}

    def _sum(self, state: Any, layer: int, keys: Float[Tensor, "d_key case"]) -> Tensor:
        own = keys.double() @ keys.double().T
        return own if state is None else self.memory(state, layer) + own
