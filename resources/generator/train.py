"""Trains one bundled model, with a checkpoint to resume from."""

from __future__ import annotations

import json
import logging
import math
import random
import time
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from resources.generator.architectures import CONTEXT, build
from resources.generator.corpus import Corpus
from resources.generator.crossentropy import SlicedCrossEntropy
from resources.generator.facts import draw_facts
from resources.generator.heldout import hold_out
from resources.generator.nearsight import nearsighted
from resources.generator.sink import first_position_loss
from resources.generator.stream import batches, token_stream
from resources.generator.tokenizer import split_words, train_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights; learning rate per step, warm-up and checkpoints in steps."""

    seed: int = 1
    steps: int = 10_000
    rows: int = 16
    learning_rate: float = 1.5e-3
    final_share: float = 0.02
    warm_up: int = 300
    weight_decay: float = 0.3
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    sink_weight: float = 0.3
    sink_from: int = 5_000
    sink_tolerance: float = 0.0
    second_from: int | None = None
    second_rate: float = 8e-4
    near_share: float = 0.75
    near_blocks: tuple[int, ...] = (0, 1, 2)
    checkpoint_every: int = 1_000
    compiled: bool = True


RECIPES = {
    "tiny-gpt2": Recipe(),
    "tiny-llama": Recipe(steps=11_500, second_from=10_000),
}


@dataclass
class Progress:
    """What a checkpoint holds beside weights and optimiser state."""

    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)


def rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate: linear warm-up, then a cosine down to `final_share`.

    A second stretch, from `second_from` on, is a cosine of its own that begins at `second_rate`.
    """
    if recipe.second_from is not None:
        if step >= recipe.second_from:
            done = (step - recipe.second_from) / (recipe.steps - recipe.second_from)
            return recipe.second_rate * cosine(done, recipe.final_share)
        recipe = replace(recipe, steps=recipe.second_from, second_from=None)
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.learning_rate * cosine(done, recipe.final_share)


def cosine(done: float, final: float) -> float:
    """Return a factor that falls from 1 to `final` as `done` goes from 0 to 1."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def optimizer_for(model: PreTrainedModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW that decays matrices other than embeddings."""
    embeddings = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    embedded = {id(m.weight) for m in embeddings}
    decayed = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embedded]
    kept = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in kept]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


class Trainer:
    """One model in training; every public method leaves it in a state that can be saved."""

    def __init__(self, name: str, recipe: Recipe, work: Path) -> None:
        """Build corpus, tokenizer and model; take up the checkpoint in `work` if there is one."""
        self.name, self.recipe, self.work = name, recipe, work
        facts = draw_facts(recipe.seed)
        held = hold_out(facts, recipe.seed)
        self.tokenizer = train_tokenizer(Corpus(facts, held, recipe.seed + 1), CONTEXT)
        if split := split_words(self.tokenizer):
            raise ValueError(f"not one token: {split}; raise BOOST or VOCABULARY in tokenizer.py")
        tokens = (recipe.steps + 1) * recipe.rows * CONTEXT
        cache = work / f"stream-{recipe.seed}-{tokens}.npy"
        self.stream = token_stream(Corpus(facts, held, recipe.seed), self.tokenizer, tokens, cache)
        torch.manual_seed(recipe.seed)
        self.model = build(name, len(self.tokenizer), self.tokenizer.eos_token_id)
        self.optimizer = optimizer_for(self.model, recipe)
        self.progress = Progress()
        self.sink = 0.0
        self._resume()
        body = self.model.base_model
        self.body: Any = torch.compile(body) if recipe.compiled else body

    @property
    def checkpoint(self) -> Path:
        """Where weights and optimiser state are kept."""
        return self.work / f"{self.name}.pt"

    def _resume(self) -> None:
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.progress = Progress(**state["progress"])
            log.info("%s: resumed at step %d", self.name, self.progress.step)

    def states(self, ids: Tensor) -> Tensor:
        """Return the last hidden states [b, context, d], early blocks confined where it is due."""
        recipe, step = self.recipe, self.progress.step
        second = recipe.second_from is not None and step >= recipe.second_from
        if second and random.Random(f"{recipe.seed}/near/{step}").random() < recipe.near_share:
            with nearsighted([self.attention(block) for block in recipe.near_blocks]):
                near: Tensor = self.model.base_model(ids).last_hidden_state
            return near
        states: Tensor = self.body(ids).last_hidden_state
        return states

    def attention(self, block: int) -> Any:
        """Return the attention module of a block."""
        body = self.model.base_model
        return body.h[block].attn if hasattr(body, "h") else body.layers[block].self_attn

    def loss(self, rows: Tensor) -> Tensor:
        """Return the mean next-token loss of rows [b, context + 1]."""
        with torch.autocast(rows.device.type, torch.bfloat16):
            hidden = self.states(rows[:, :-1])
        weight = self.model.get_input_embeddings().weight
        loss: Tensor = SlicedCrossEntropy.apply(hidden.flatten(0, 1), weight, rows[:, 1:].flatten())
        if self.progress.step < self.recipe.sink_from:
            return loss
        # Every 32nd token stands for one that a context happens to begin with.
        with torch.autocast(rows.device.type, torch.bfloat16):
            sink = first_position_loss(
                self.model.base_model, rows[:, :-1:32].flatten(), self.recipe.sink_tolerance
            )
        self.sink = sink.item()
        return loss + self.recipe.sink_weight * sink

    def step(self, rows: Tensor) -> float:
        """Take one optimiser step and return the next-token loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.recipe, self.progress.step)
        loss = self.loss(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        return loss.item() - self.recipe.sink_weight * self.sink

    def run(self, folder: Path) -> None:
        """Train to the last step; save checkpoints in `work` and the model in `folder`."""
        self.model.train()
        every = batches(self.stream, CONTEXT, self.recipe.rows, self.recipe.seed)
        start, recent = time.monotonic() - self.progress.seconds, []
        for rows in islice(every, self.progress.step, self.recipe.steps):
            recent.append(self.step(torch.from_numpy(rows)))
            self.progress.seconds = time.monotonic() - start
            if self.progress.step % 100 == 0:
                self._report(sum(recent) / len(recent))
                recent.clear()
            if self.progress.step % self.recipe.checkpoint_every == 0:
                self.save(folder)
        self.save(folder)

    def _report(self, loss: float) -> None:
        done = self.progress
        done.losses.append((done.step, round(loss, 4)))
        speed = done.step * self.recipe.rows * CONTEXT / done.seconds
        text = "%s: step %d loss %.4f (first position %.4f), %.0f tokens/s"
        log.info(text, self.name, done.step, loss, self.sink, speed)

    def save(self, folder: Path) -> None:
        """Save checkpoint, weights, tokenizer and the record of training."""
        self.work.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)
        export(self.model, self.tokenizer, folder)
        record = {"recipe": asdict(self.recipe), **asdict(self.progress)}
        (folder / "training.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer in Hugging Face format, float32."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
