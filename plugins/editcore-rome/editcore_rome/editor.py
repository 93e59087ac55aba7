"""The edit itself: keys, v*, and the rank-one update that maps one to the other."""

from collections.abc import Iterator, Sequence
from typing import Any

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    Delta,
    SubjectKeys,
    Value,
    collect_keys,
    solve_rank_one,
    tokenize_templates,
    values_of_each,
)
from editcore_rome.config import RomeConfig

CASES_AT_A_TIME = 16


class RomeEditor(Editor[RomeConfig]):
    """ROME with the key strategy of its options."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Edit one fact; ROME maps one key to one value, so several requests are an error."""
        if len(requests) != 1:
            raise RequestError(
                f"this editor takes one request at a time, not {len(requests)}; give one"
            )
        return next(self.edit_each(context, requests))

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each request alone; keys and v* of all are found together."""
        values = values_of_each(context, requests, self.config.value_options())
        sound = [r for r, value in zip(requests, values, strict=True) if isinstance(value, Value)]
        keys = self._keys(context, sound)
        for value in values:
            if isinstance(value, str):
                yield self._result(status=value)
            else:
                yield self._bind(context, next(keys), value)

    def _keys(self, context: EditContext, requests: Sequence[EditRequest]) -> Iterator[SubjectKeys]:
        """The keys of each request, a few cases at a time, since each has one per template."""
        assert context.prefixes is not None
        model, templates = context.model, context.prefixes.templates
        for start in range(0, len(requests), CASES_AT_A_TIME):
            some = requests[start : start + CASES_AT_A_TIME]
            prompts = [tokenize_templates(model, request, templates) for request in some]
            yield from collect_keys(model, self.config.layer, prompts)

    def _bind(self, context: EditContext, keys: SubjectKeys, value: Value) -> EditResult:
        assert context.key_strategy is not None
        layer = self.config.layer
        moment = context.moments[layer] if self.config.second_moment else None
        edit = solve_rank_one(value.target, context.key_strategy(keys), moment)
        diagnostics = {
            "numerator_norm": edit.numerator_norm,
            "denominator": edit.denominator,
            "key_match": edit.key_match,
            "steps": value.steps,
            "loss": value.loss,
        }
        delta = Delta({context.model.parts.down_weight(layer): edit.update})
        return self._result(delta=delta, diagnostics=diagnostics)

    def _result(self, **found: Any) -> EditResult:
        """A result that reports the key strategy and whether C was used."""
        config = self.config
        return EditResult(
            **found, key_strategy=config.key_strategy, second_moment=config.second_moment
        )
