"""Adam on copies of one matrix's or one block's parameters, in mini-batches over all facts.

The model's own weights never change: a forward pass reads the copies in their place. A pass starts
at the tuned block, from the unedited states before it; they are kept for all facts if they fit in
memory, and computed again for each mini-batch otherwise.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.func import functional_call

from editcore.toolkit import LoadedModel, ScoredRows, TargetRow, recording, resuming_after
from editcore_locft.config import LocftConfig

# Most numbers of states before the tuned block that are kept for all facts: 256 MB in float32.
KEPT_NUMBERS = 1 << 26


@dataclass(frozen=True)
class Tuned:
    """The change of each parameter, in its own shape; Adam's steps, and the last epoch's loss."""

    changes: Mapping[str, Tensor]
    steps: int
    loss: float


def tune(
    model: LoadedModel,
    facts: Sequence[TargetRow],
    config: LocftConfig,
    orders: Iterable[Sequence[int]],
) -> Tuned:
    """Train on all facts, in the order that `orders` gives for each epoch.

    A mini-batch's loss is the mean over its facts of the mean NLL of their tokens, in nats; that of
    an epoch is the mean over all facts. Training ends at the first loss that is not finite.
    """
    tuning = _Tuning(model, facts, config)
    steps, mean = 0, math.inf
    for order in islice(orders, config.epochs):
        total = 0.0
        for start in range(0, len(order), config.batch_size):
            batch = order[start : start + config.batch_size]
            loss, stepped = tuning.step(batch)
            steps, total = steps + stepped, total + loss * len(batch)
        mean = total / len(facts)
        if mean < config.stop_loss or not math.isfinite(mean):
            break
    return Tuned(tuning.changes(), steps, mean)


class _Tuning:
    """The copies that are trained, and the states from which every pass starts."""

    def __init__(self, model: LoadedModel, facts: Sequence[TargetRow], config: LocftConfig) -> None:
        self._model, self._facts, self._config = model, facts, config
        self._names = _tuned_names(model, config)
        self._copies = {
            name: _copy(model.model.get_parameter(name)).requires_grad_() for name in self._names
        }
        self._adam = torch.optim.Adam(list(self._copies.values()), lr=config.learning_rate)
        longest = max(len(fact.ids) for fact in facts)
        numbers = len(facts) * longest * model.model.config.get_text_config().hidden_size
        self._kept: dict[int, Tensor] | None = {} if numbers <= KEPT_NUMBERS else None

    def step(self, batch: Sequence[int]) -> tuple[float, bool]:
        """The loss of a mini-batch before its step, and whether a step was taken."""
        with torch.enable_grad(), self._model.arithmetic():
            loss = self._loss(batch)
        value = float(loss.detach())
        if value < self._config.stop_loss or not math.isfinite(value):
            return value, False
        gradients = torch.autograd.grad(loss, list(self._copies.values()))
        for copy, gradient in zip(self._copies.values(), gradients, strict=True):
            copy.grad = gradient
        self._adam.step()
        return value, True

    @torch.no_grad()
    def changes(self) -> dict[str, Tensor]:
        """The copies minus the weights, by the parameters' names."""
        return {
            name: copy.detach() - self._model.model.get_parameter(name)
            for name, copy in self._copies.items()
        }

    def _loss(self, batch: Sequence[int]) -> Tensor:
        scored = ScoredRows.of(self._model, [self._facts[i] for i in batch])
        states = self._states(batch, scored)
        given = {
            "input_ids": scored.rows.ids,
            "attention_mask": scored.rows.mask,
            "use_cache": False,
        }
        weights = {self._names[n]: c.to(self._own(n)) for n, c in self._copies.items()}
        with resuming_after(self._model.parts, self._config.layer - 1, states):
            output = functional_call(self._model.model.base_model, weights, kwargs=given)
        return scored.loss(self._model, output.last_hidden_state).mean()

    @torch.no_grad()
    def _states(self, batch: Sequence[int], scored: ScoredRows) -> Tensor | None:
        """The states before the tuned block; None if no block is before it."""
        layer = self._config.layer
        if layer == 0:
            return None
        if self._kept is not None and all(i in self._kept for i in batch):
            return torch.stack([self._padded(self._kept[i], scored.rows.length) for i in batch])
        with recording(self._model.parts.block(layer - 1), stop=True) as seen:
            self._model.model.base_model(
                input_ids=scored.rows.ids, attention_mask=scored.rows.mask, use_cache=False
            )
        assert seen.output is not None
        if self._kept is not None:
            for row, i in enumerate(batch):
                self._kept[i] = seen.output[row, : len(self._facts[i].ids)].clone()
        return seen.output

    def _padded(self, states: Tensor, length: int) -> Tensor:
        padded = states.new_zeros(length, states.shape[-1])
        padded[: len(states)] = states
        return padded

    def _own(self, name: str) -> Tensor:
        return self._model.model.get_parameter(name)


def _copy(parameter: Tensor) -> Tensor:
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return parameter.detach().to(dtype, copy=True)


def _tuned_names(model: LoadedModel, config: LocftConfig) -> dict[str, str]:
    """The tuned parameters, each with its name inside the model without its head."""
    weight = model.parts.down_weight(config.layer)
    prefix = model.anatomy.path(config.layer, "") if config.tuned == "block" else weight
    inside = {id(p): name for name, p in model.model.base_model.named_parameters()}
    return {
        name: inside[id(parameter)]
        for name, parameter in model.model.named_parameters()
        if name.startswith(prefix)
    }
