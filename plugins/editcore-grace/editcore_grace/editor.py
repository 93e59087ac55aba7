"""The edit itself: each fact changes the codebook, and a value is found by Adam."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    LoadedModel,
    ScoredRows,
    TargetRow,
    recording,
    resuming_after,
    target_row,
)
from editcore_grace.codebook import Codebook, decide
from editcore_grace.config import GraceConfig
from editcore_grace.patch import CodebookPatch


@dataclass(frozen=True)
class Fact:
    """A fact's row of tokens, with the map's input and output at the prompt's last token.

    `states` are those before the codebook's block; None if no block is before it.
    """

    row: TargetRow
    scored: ScoredRows
    key: Tensor
    output: Tensor
    states: Tensor | None

    @property
    def end(self) -> int:
        """The position of the prompt's last token."""
        return len(self.row.ids) - len(self.row.target)


class GraceEditor(Editor[GraceConfig]):
    """GRACE; its state is the codebook, and its patch contains all edits so far."""

    def start(self, context: EditContext) -> Codebook:
        """An empty codebook."""
        module = context.model.parts.down(self.config.layer)
        assert isinstance(module.weight, Tensor)
        d_out = int(context.model.model.config.get_text_config().hidden_size)
        return Codebook.empty(module.weight.numel() // d_out, d_out, context.model.device)

    def save_state(self, state: Any) -> Mapping[str, Tensor]:
        """The codebook as tensors."""
        return {} if state is None else state.tensors()

    def load_state(self, context: EditContext, tensors: Mapping[str, Tensor]) -> Any:
        """The codebook that was saved."""
        return Codebook.of(tensors, context.model.device) if tensors else None

    def patch_of(self, context: EditContext, state: Any) -> CodebookPatch:
        """The patch that answers from a codebook."""
        layer, anatomy = self.config.layer, context.model.anatomy
        return CodebookPatch(layer, anatomy.path(layer, anatomy.down), state)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Add the facts to the codebook in their order; `RequestError` for one without tokens."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        rows = [target_row(context.model, r.text, r.target_new) for r in requests]
        book, loss = self.start(context) if state is None else state, 0.0
        for row in rows:
            book, loss = self._with(context, book, self._seen(context.model, row))
        patch = self.patch_of(context, book)
        steps = float(self.config.steps * len(rows))
        diagnostics = {"steps": steps, "loss": loss, "entries": float(len(book))}
        return EditResult(patch=patch, state=book, diagnostics=diagnostics)

    def _with(self, context: EditContext, book: Codebook, fact: Fact) -> tuple[Codebook, float]:
        """The codebook after one fact, and the loss at the last step, in nats."""
        decision = decide(book, fact.key, fact.row.target, self.config.radius)
        first = fact.output
        if decision.kept:
            first = decision.book.values[decision.entry]
        elif self.config.start == "cold":
            generator = torch.Generator().manual_seed(context.seed + decision.entry)
            first = torch.rand(first.shape, generator=generator).to(first)
        value, loss = self._value(context, decision.book, fact, first)
        return decision.book.with_value(decision.entry, value), loss

    @torch.no_grad()
    def _seen(self, model: LoadedModel, row: TargetRow) -> Fact:
        """What the model computes on the row without a codebook, up to the codebook's block."""
        layer, parts = self.config.layer, model.parts
        scored = ScoredRows.of(model, [row])
        with ExitStack() as stack:
            before = stack.enter_context(recording(parts.block(layer - 1))) if layer else None
            seen = stack.enter_context(recording(parts.down(layer), stop=True))
            model.model.base_model(
                input_ids=scored.rows.ids, attention_mask=scored.rows.mask, use_cache=False
            )
        assert seen.input is not None and seen.output is not None
        end = len(row.ids) - len(row.target)
        key, output = seen.input[0, end].float(), seen.output[0, end].float()
        return Fact(row, scored, key, output, before.output if before else None)

    def _value(
        self, context: EditContext, book: Codebook, fact: Fact, first: Tensor
    ) -> tuple[Tensor, float]:
        """The map's output at the prompt's last token that makes the model predict the target.

        Elsewhere in the row, the codebook answers as it will afterwards.
        """
        model, patch = context.model, self.patch_of(context, book)
        value = first.detach().clone().requires_grad_()
        adam = torch.optim.Adam([value], lr=self.config.learning_rate)
        loss = torch.zeros(())
        for _ in range(self.config.steps):
            with torch.enable_grad(), model.arithmetic(), patch.applied(model.model):
                loss = self._loss(model, fact, value)
                (value.grad,) = torch.autograd.grad(loss, value)
            adam.step()
        return value.detach(), float(loss.detach())

    def _loss(self, model: LoadedModel, fact: Fact, value: Tensor) -> Tensor:
        module = model.parts.down(self.config.layer)
        with (
            _replacing(module, fact.end, value),
            resuming_after(model.parts, self.config.layer - 1, fact.states),
        ):
            hidden = model.model.base_model(
                input_ids=fact.scored.rows.ids,
                attention_mask=fact.scored.rows.mask,
                use_cache=False,
            ).last_hidden_state
        return fact.scored.loss(model, hidden).sum()


@contextmanager
def _replacing(module: nn.Module, position: int, value: Tensor) -> Iterator[None]:
    """Replace the output of `module` at one position of the only row; gradients flow into it."""

    def replace(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        rows = output.reshape(-1, output.shape[-1])
        chosen = torch.arange(len(rows), device=output.device)[:, None] == position
        return torch.where(chosen, value.to(output.dtype), rows).view_as(output)

    with module.register_forward_hook(replace):
        yield
