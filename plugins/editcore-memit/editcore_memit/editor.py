"""The edit itself: the search for z at the last layer, and its spreading over all of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editcore import EditContext, Editor, EditRequest, EditResult
from editcore.errors import RequestError
from editcore.values import Value, ValueOptions, ValueProblem, optimise, pose
from editcore_memit.config import MemitConfig
from editcore_memit.contexts import Contexts, choose
from editcore_memit.spread import Spreading, spread

NONFINITE_LOSS = "the search for z met a non-finite loss; nothing was edited"
NONFINITE_CHANGE = "the least-squares update is not finite; nothing was edited"


@dataclass(frozen=True)
class Sought:
    """A case whose z has been found."""

    problem: ValueProblem
    value: Value


class MemitEditor(Editor[MemitConfig]):
    """MEMIT, for one fact or many in one change."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Edit all facts together; one among several that cannot be edited is a `RequestError`."""
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
        problems = [_pose(context, request, templates) for request in requests]
        sound = [problem for problem in problems if isinstance(problem, ValueProblem)]
        values = dict(enumerate(optimise(context.model, sound, self._options())))
        order = iter(range(len(sound)))
        return [
            problem if isinstance(problem, str) else _judge(problem, values[next(order)])
            for problem in problems
        ]

    def _write(self, context: EditContext, cases: Sequence[Sought]) -> EditResult:
        """One change for all cases."""
        delta = spread(
            context.model,
            [case.problem.prompts for case in cases],
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

    def _options(self) -> ValueOptions:
        config = self.config
        return ValueOptions(
            layer=config.layers[-1],
            site="block",
            steps=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            kl_factor=config.kl_factor,
            clamp_norm_factor=config.clamp_norm_factor,
            stop_loss=config.stop_loss,
        )


def _pose(
    context: EditContext, request: EditRequest, templates: Sequence[str]
) -> ValueProblem | str:
    try:
        return pose(context.model, request, templates)
    except RequestError as error:
        return str(error)


def _judge(problem: ValueProblem, value: Value) -> Sought | str:
    return Sought(problem, value) if math.isfinite(value.loss) else NONFINITE_LOSS
