"""The edit itself: keys, v*, and the rank-one update that binds them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from editcore import EditContext, Editor, EditRequest, EditResult
from editcore.deltas import Delta
from editcore.errors import RequestError
from editcore.keys import KeyStrategy, SubjectKeys, collect
from editcore.plugins import load_registry, resolve
from editcore.rank_one import solve
from editcore.values import Value, ValueOptions, ValueProblem, optimise, pose
from editcore_rome.config import RomeConfig

NONFINITE = "the search for v* met a non-finite loss; nothing was edited"


class RomeEditor(Editor[RomeConfig]):
    """ROME with the key strategy of its options."""

    def __init__(self, config: RomeConfig) -> None:
        super().__init__(config)
        found = load_registry().key_strategies[config.key_strategy]
        self._strategy: KeyStrategy = resolve(found.record.factory)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Edit one fact; ROME binds one key to one value, so several requests are an error."""
        if len(requests) != 1:
            raise RequestError(f"this editor takes one request at a time, not {len(requests)}")
        return next(self.edit_each(context, requests))

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each request alone; keys and v* of all are found together."""
        problems = [self._pose(context, request) for request in requests]
        sound = [problem for problem in problems if isinstance(problem, ValueProblem)]
        keys = iter(self._keys(context, sound))
        values = optimise(context.model, sound, self._options())
        for problem in problems:
            if isinstance(problem, str):
                yield EditResult(None, problem)
            else:
                yield self._bind(context, next(keys), next(values))

    def _pose(self, context: EditContext, request: EditRequest) -> ValueProblem | str:
        assert context.prefixes is not None
        try:
            return pose(context.model, request, context.prefixes.templates)
        except RequestError as error:
            return str(error)

    def _keys(
        self, context: EditContext, problems: Sequence[ValueProblem]
    ) -> Iterator[SubjectKeys]:
        for start in range(0, len(problems), 16):
            group = problems[start : start + 16]
            yield from collect(context.model, self.config.layer, [p.prompts for p in group])

    def _options(self) -> ValueOptions:
        config = self.config
        return ValueOptions(
            layer=config.layer,
            steps=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            kl_factor=config.kl_factor,
            clamp_norm_factor=config.clamp_norm_factor,
            stop_loss=config.stop_loss,
        )

    def _bind(self, context: EditContext, keys: SubjectKeys, value: Value) -> EditResult:
        layer = self.config.layer
        moment = context.moments[layer] if self.config.second_moment else None
        edit = solve(value.target, self._strategy(keys), moment)
        diagnostics = {
            "numerator_norm": edit.numerator_norm,
            "denominator": edit.denominator,
            "steps": value.steps,
            "loss": value.loss,
        }
        delta = Delta({context.model.layout.down_weight(layer): edit.update})
        if not (math.isfinite(value.loss) and delta.finite()):
            return EditResult(None, NONFINITE, diagnostics)
        return EditResult(delta, diagnostics=diagnostics)
