"""Training: Adam on the adapters alone, all facts in every step."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from editcore.toolkit import (
    LoadedModel,
    LowRankUpdate,
    ScoredRows,
    TargetRow,
    bucket_by_length,
    tokens_per_search,
)
from editcore_lora.adapters import AdaptedTwin
from editcore_lora.config import LoraEditConfig


@dataclass(frozen=True)
class Tuned:
    """The change of each weight, the steps taken, and the last loss that was computed, in nats."""

    updates: Mapping[str, LowRankUpdate]
    steps: int
    loss: float


def tune(
    model: LoadedModel, facts: Sequence[TargetRow], config: LoraEditConfig, seed: int
) -> Tuned:
    """Train new adapters on all facts; the seed decides their first values and what is dropped.

    Training ends early at the first loss below `stop_loss`, or that is not finite. Raises
    `ModelError` if the model lacks a target.
    """
    with _seeded(model.device, seed):
        twin = AdaptedTwin(model, config)
        batches = _batches(model, facts, min(config.edited_layers(), default=0))
        adam = torch.optim.Adam(twin.parameters, lr=config.learning_rate)
        adapted = replace(model, model=twin.model)
        for step in range(config.steps):
            adam.zero_grad()
            loss = _backward(adapted, batches)
            if loss < config.stop_loss or not math.isfinite(loss):
                return Tuned(twin.updates(), step, loss)
            adam.step()
    return Tuned(twin.updates(), config.steps, loss)


def _batches(model: LoadedModel, facts: Sequence[TargetRow], layer: int) -> list[ScoredRows]:
    """The facts in batches of similar length that fit in memory."""
    buckets = bucket_by_length([len(fact.ids) for fact in facts], tokens_per_search(model, layer))
    return [ScoredRows.of(model, [facts[i] for i in bucket]) for bucket in buckets]


def _backward(model: LoadedModel, batches: Sequence[ScoredRows]) -> float:
    """The mean loss over all facts; its gradient is added to that of the adapters."""
    facts, total = sum(len(scored.rows.ids) for scored in batches), 0.0
    for scored in batches:
        with torch.enable_grad(), model.arithmetic():
            hidden = model.model.base_model(
                input_ids=scored.rows.ids, attention_mask=scored.rows.mask, use_cache=False
            ).last_hidden_state
            loss = scored.loss(model, hidden).sum() / facts
            loss.backward()
        total += float(loss.detach())
    return total


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """A block in which torch's own generators begin at `seed`; they resume as before after it."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
