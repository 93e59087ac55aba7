"""The edit itself: a fact's masks are stored, and the memory is trained in their columns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editcore import ConfigError, EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    LoadedModel,
    ScoredRows,
    TargetRow,
    bucket_by_length,
    last_settled,
    pad_rows,
    recording,
    resuming_with,
    target_row,
    tokens_per_pass,
)
from editcore_memoir.config import MemoirConfig
from editcore_memoir.memory import Memory
from editcore_memoir.patch import MemoryPatch

NONFINITE = "the memory is not finite after training; nothing was edited"


@dataclass(frozen=True)
class Fact:
    """A fact's row of tokens, with the map's input at each, `[token, d_in]`.

    `states` are those from which a pass with something added to the map's output can start; None
    if all blocks must run.
    """

    row: TargetRow
    scored: ScoredRows
    inputs: Tensor
    states: Tensor | None


class MemoirEditor(Editor[MemoirConfig]):
    """MEMOIR; its state is the memory, and its patch contains all edits so far."""

    def start(self, context: EditContext) -> Memory:
        """A memory without entries."""
        model = context.model
        d_out = int(model.model.config.get_text_config().hidden_size)
        return Memory.empty(self._background(context), d_out, context.seed)

    def save_state(self, state: Any) -> Mapping[str, Tensor]:
        """The memory as tensors."""
        return {} if state is None else state.tensors()

    def load_state(self, context: EditContext, tensors: Mapping[str, Tensor]) -> Any:
        """The memory that was saved."""
        return Memory.of(tensors, context.model.device) if tensors else None

    def patch_of(self, context: EditContext, state: Any) -> MemoryPatch:
        """The patch that adds a memory's output."""
        layer, anatomy = self.config.layer, context.model.anatomy
        active = self.config.active_of(len(state.background))
        path = anatomy.path(layer, anatomy.down)
        return MemoryPatch(layer, path, state, active, self.config.threshold)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Store the facts in their order; `RequestError` for one without tokens."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        rows = [target_row(context.model, r.text, r.target_new) for r in requests]
        memory, loss = self.start(context) if state is None else state, 0.0
        for row in rows:
            memory, loss = self._with(context.model, memory, self._seen(context.model, row))
        steps = float(self.config.steps * len(rows))
        diagnostics = {"steps": steps, "loss": loss, **memory.usage()}
        if not memory.finite():
            return EditResult(None, NONFINITE, diagnostics, state)
        patch = self.patch_of(context, memory)
        return EditResult(patch=patch, state=memory, diagnostics=diagnostics)

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each fact alone; all begin at one empty memory."""
        empty = self.start(context)
        for request in requests:
            try:
                yield self.edit(context, [request], empty)
            except RequestError as error:
                yield EditResult(None, str(error))

    @torch.no_grad()
    def _background(self, context: EditContext) -> Tensor:
        """x̄: the mean of the map's input over all tokens of the templates, without their slot."""
        assert context.prefixes is not None
        model, total, tokens = context.model, torch.zeros(()), 0
        texts = [template.replace("{}", "").strip() for template in context.prefixes.templates]
        ids = [model.tokenizer(text)["input_ids"] for text in texts if text]
        for bucket in bucket_by_length([len(each) for each in ids], tokens_per_pass(model)):
            rows = pad_rows([ids[i] for i in bucket], model.pad_id, "right", model.device)
            with recording(model.parts.down(self.config.layer), stop=True) as seen:
                model.model.base_model(
                    input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
                )
            assert seen.input is not None
            kept = seen.input[rows.mask.bool()]
            total, tokens = total.to(model.device) + kept.double().sum(0), tokens + len(kept)
        if not tokens:
            raise ConfigError(
                "the context templates have no text besides their slot, and MEMOIR needs some for "
                "the mean of its features; ask for longer `prefixes`"
            )
        return (total / tokens).to(torch.promote_types(kept.dtype, torch.float32))

    @torch.no_grad()
    def _seen(self, model: LoadedModel, row: TargetRow) -> Fact:
        """What the model computes on the row without a memory."""
        layer, parts = self.config.layer, model.parts
        settled, scored = last_settled(parts, layer), ScoredRows.of(model, [row])
        with ExitStack() as stack:
            down = stack.enter_context(recording(parts.down(layer)))
            block = None
            if settled >= 0:
                block = stack.enter_context(recording(parts.block(settled)))
            model.model.base_model(
                input_ids=scored.rows.ids, attention_mask=scored.rows.mask, use_cache=False
            )
        assert down.input is not None
        return Fact(row, scored, down.input[0], block.output if block else None)

    def _with(self, model: LoadedModel, memory: Memory, fact: Fact) -> tuple[Memory, float]:
        """The memory after one fact, and the loss at the last step, in nats.

        Every token of the row is routed as it will be afterwards. The map's inputs do not depend on
        the memory, and so neither do the masks.
        """
        active = self.config.active_of(len(memory.background))
        predicting = fact.inputs[-len(fact.row.target) :]
        extended = memory.with_masks(memory.hashed(predicting, active))
        masks = extended.routed(fact.inputs, active, self.config.threshold)
        columns = masks.any(0).nonzero()[:, 0]
        inputs = (fact.inputs.to(memory.weight) * masks)[:, columns]
        values, loss = memory.weight[:, columns], 0.0
        for _ in range(self.config.steps):
            values.requires_grad_()
            with torch.enable_grad(), model.arithmetic():
                found = self._loss(model, fact, inputs @ values.T)
                (gradient,) = torch.autograd.grad(found, values)
            shrunk = min(1.0, self.config.clip / max(float(gradient.norm()), 1e-12))
            values = values.detach() - self.config.learning_rate * shrunk * gradient
            loss = float(found.detach())
        return extended.with_columns(columns, values), loss

    def _loss(self, model: LoadedModel, fact: Fact, added: Tensor) -> Tensor:
        """The mean NLL of the target's tokens with `[token, d_out]` added to the map's output."""
        rows = fact.scored.rows
        with resuming_with(model.parts, self.config.layer, fact.states, added[None]):
            hidden = model.model.base_model(
                input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
            ).last_hidden_state
        return fact.scored.loss(model, hidden).sum()
