"""Adam on the change of one down-projection, for many independent edits in one batch.

A change ΔW of the down-projection adds ΔW·k to its output, and the key k stays as it is. So keys
and states are recorded once, and a step resumes at the edited layer (after the block, if it adds
its MLP's output to the states unchanged). Every edit has its rows in one batch, under its own ΔW;
an edit that has reached its loss leaves the batch. The weights themselves are never changed.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from editcore import EditRequest
from editcore.toolkit import (
    LoadedModel,
    PaddedRows,
    RowAdam,
    last_settled,
    pad_rows,
    recording,
    resuming_with,
)
from editcore_ft.config import FtConfig, LossName

# Adam keeps four numbers per number of a change: itself, its gradient and two moments.
NUMBERS_PER_BATCH = 1 << 24
TOKENS_PER_BATCH = 4096


@dataclass(frozen=True)
class Row:
    """One fact's tokens, and the token to score at each place: `places` holds (column, token)."""

    ids: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Problem:
    """The facts of one change."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Tuned:
    """ΔW `[d_model, d_key]`, Δb `[d_model]` or None, the steps taken, and the last loss in nats."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    steps: int
    loss: float


def pose(model: LoadedModel, requests: Sequence[EditRequest], loss: LossName) -> Problem:
    """Tokenise the facts of one edit.

    Raises `RequestError` for a prompt or target without tokens, or more tokens than positions.
    """
    return Problem(tuple(_row(model, request, loss) for request in requests))


def _row(model: LoadedModel, request: EditRequest, loss: LossName) -> Row:
    prompt = tuple(model.tokenizer(request.text)["input_ids"])
    target = model.target_ids(request.text, request.target_new)
    length = len(prompt) + (0 if loss == "last_prompt_token" else len(target) - 1)
    model.check_length(request.text, length)
    last = len(prompt) - 1
    if loss == "last_prompt_token":
        return Row(prompt, tuple((last, token) for token in target))
    return Row(prompt + target[:-1], tuple((last + i, token) for i, token in enumerate(target)))


def tune(model: LoadedModel, problems: Sequence[Problem], config: FtConfig) -> Iterator[Tuned]:
    """Yield the change of every problem, in order; each gets what it would get alone."""
    numbers = model.model.get_parameter(model.parts.down_weight(config.layer)).numel()
    for batch in _batches(problems, numbers):
        yield from _Tuning(model, batch, config).run()


def _batches(problems: Sequence[Problem], numbers: int) -> Iterator[list[Problem]]:
    """Consecutive problems, as many as fit in memory; one with several rows is a batch alone."""
    batch: list[Problem] = []
    for problem in problems:
        joined = [*batch, problem]
        if batch and not _fits(joined, numbers):
            yield batch
            joined = [problem]
        batch = joined
    if batch:
        yield batch


def _fits(problems: Sequence[Problem], numbers: int) -> bool:
    tokens = len(problems) * max(len(row.ids) for problem in problems for row in problem.rows)
    small = len(problems) * numbers <= NUMBERS_PER_BATCH and tokens <= TOKENS_PER_BATCH
    return small and all(len(problem.rows) == 1 for problem in problems)


class _Tuning:
    """One batch: what is constant is computed once, then the steps.

    There are as many changes as rows, or one change, which is broadcast over all rows.
    """

    def __init__(self, model: LoadedModel, problems: Sequence[Problem], config: FtConfig) -> None:
        self._model, self._problems, self._config = model, problems, config
        self._lay_out()
        self._run_constants()

    def _lay_out(self) -> None:
        """Token rows; each scored token's row, column, id, problem, and the size of its mean."""
        device = self._model.device
        rows = [(i, row) for i, problem in enumerate(self._problems) for row in problem.rows]
        self._rows = pad_rows([row.ids for _, row in rows], self._model.pad_id, "right", device)
        scored = [
            (number, column, token, problem, len(self._problems[problem].rows) * len(row.places))
            for number, (problem, row) in enumerate(rows)
            for column, token in row.places
        ]
        columns = torch.tensor(scored, device=device).T
        self._row, self._column, self._token, self._problem, self._share = columns

    @torch.no_grad()
    def _run_constants(self) -> None:
        """The keys `[rows, length, d_key]`, and the states that need not be computed again."""
        parts, layer = self._model.parts, self._config.layer
        settled = last_settled(parts, layer)
        with ExitStack() as stack:
            if settled >= 0:
                before = stack.enter_context(recording(parts.block(settled)))
            down = stack.enter_context(recording(parts.down(layer)))
            stack.enter_context(recording(parts.block(layer), stop=True))
            self._model.model(
                input_ids=self._rows.ids, attention_mask=self._rows.mask, use_cache=False
            )
        assert down.input is not None
        self._keys, self._states = down.input, before.output if settled >= 0 else None

    def _losses(self, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The mean NLL of each problem's targets, `[problems]`, in nats."""
        added = self._keys.to(weight.dtype) @ weight.mT
        if bias is not None:
            added = added + bias[:, None]
        added = added.to(self._keys.dtype)
        with resuming_with(self._model.parts, self._config.layer, self._states, added):
            hidden = self._model.model.base_model(
                input_ids=self._rows.ids, attention_mask=self._rows.mask, use_cache=False
            ).last_hidden_state
        logits = self._model.parts.logits(hidden[self._row, self._column])
        scores = logits.to(weight.dtype).log_softmax(-1)
        nll = -scores.gather(1, self._token[:, None])[:, 0] / self._share
        zeros = torch.zeros(len(weight), dtype=nll.dtype, device=nll.device)
        return zeros.index_add(0, self._problem, nll)

    def run(self) -> list[Tuned]:
        """Take steps, each followed by the clamp; each problem ends at its own loss."""
        config = self._config
        adam = RowAdam(self._start(), config.learning_rate)
        running = list(range(len(self._problems)))
        found: dict[int, Tuned] = {}
        for step in range(config.steps + 1):
            changes = [tensor.requires_grad_() for tensor in adam.tensors]
            losses = self._losses(changes[0], changes[1] if len(changes) > 1 else None)
            for row, loss in enumerate(losses.tolist()):
                if step == config.steps or loss < config.stop_loss or not math.isfinite(loss):
                    found[running[row]] = _tuned(changes, row, step, loss)
            if len(found) == len(self._problems):
                break
            gradients = torch.autograd.grad(losses.sum(), changes)
            with torch.no_grad():
                adam.step(gradients)
                self._clamp(adam.tensors)
                rows = [row for row, problem in enumerate(running) if problem not in found]
                if len(rows) < len(running):
                    running = [running[row] for row in rows]
                    self._keep(torch.tensor(rows, device=losses.device), adam)
        return [found[i] for i in range(len(self._problems))]

    def _start(self) -> list[torch.Tensor]:
        """Zero changes of the weight, and of the bias if there is one, in float32 or better."""
        down = self._model.parts.down(self._config.layer)
        assert isinstance(down.weight, torch.Tensor)
        width = down.weight.numel() // self._keys.shape[-1]
        shape = (len(self._problems), width, self._keys.shape[-1])
        dtype = torch.promote_types(self._keys.dtype, torch.float32)
        weight = torch.zeros(shape, dtype=dtype, device=self._model.device)
        return [weight] if down.bias is None else [weight, torch.zeros_like(weight[..., 0])]

    def _clamp(self, changes: Sequence[torch.Tensor]) -> None:
        limit = self._config.norm_constraint
        if limit is not None:
            for change in changes:
                change.clamp_(-limit, limit)

    def _keep(self, rows: torch.Tensor, adam: RowAdam) -> None:
        """Continue with these problems alone; each of them has one row."""
        place = torch.full((len(self._keys),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        kept = place[self._row] >= 0
        self._row = self._problem = place[self._row[kept]]
        self._column, self._token = self._column[kept], self._token[kept]
        self._share = self._share[kept]
        self._keys = self._keys[rows]
        self._states = None if self._states is None else self._states[rows]
        self._rows = PaddedRows(*(part[rows] for part in vars(self._rows).values()))
        adam.keep(rows)


def _tuned(changes: Sequence[torch.Tensor], row: int, steps: int, loss: float) -> Tuned:
    weight, *bias = (change.detach()[row].clone() for change in changes)
    return Tuned(weight, bias[0] if bias else None, steps, loss)
