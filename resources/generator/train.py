"""Trains one bundled model, with a checkpoint to resume from."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from resources.generator import checkpoint
from resources.generator.architectures import CONTEXT, build
from resources.generator.corpus import Corpus
from resources.generator.crossentropy import SlicedCrossEntropy
from resources.generator.facts import draw_facts
from resources.generator.heldout import hold_out
from resources.generator.nearsight import nearsighted
from resources.generator.recipe import Recipe, Stretch, rate
from resources.generator.sink import first_position_loss
from resources.generator.stream import batches, token_stream
from resources.generator.tokenizer import split_words, train_tokenizer

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """What a checkpoint contains besides weights and optimiser state."""

    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)


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
    return torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas, fused=True)


class Trainer:
    """One model in training; every public method leaves it in a state that can be saved."""

    def __init__(self, name: str, recipe: Recipe, work: Path) -> None:
        """Build corpus, tokenizer and model; resume from a checkpoint in `work` if present."""
        self.name, self.recipe, self.work = name, recipe, work
        self.facts = draw_facts(recipe.seed)
        self.held = hold_out(self.facts, recipe.seed)
        self.tokenizer = self.make_tokenizer()
        if split := split_words(self.tokenizer):
            raise ValueError(f"not one token: {split}; raise BOOST or VOCABULARY in tokenizer.py")
        torch.manual_seed(recipe.seed)
        self.model = build(name, len(self.tokenizer), self.tokenizer.eos_token_id)
        self.optimizer = optimizer_for(self.model, recipe)
        self.progress = Progress()
        self.sink = 0.0
        self._resume()
        body = self.model.base_model
        self.body: Any = torch.compile(body) if recipe.compiled else body

    def make_tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the tokenizer of the world's text."""
        text = Corpus(self.facts, self.held, self.recipe.seed + 1)
        return train_tokenizer(text, CONTEXT)

    @property
    def checkpoint(self) -> Path:
        """The file with weights and optimiser state."""
        return self.work / f"{self.name}.safetensors"

    def _resume(self) -> None:
        if self.checkpoint.exists():
            about = checkpoint.load(self.checkpoint, self.model, self.optimizer)
            self.progress = Progress(**about)
            log.info("%s: resumed at step %d", self.name, self.progress.step)

    def states(self, ids: Tensor) -> Tensor:
        """Return the last hidden states [b, context, d], early blocks confined in some steps."""
        recipe, step = self.recipe, self.progress.step
        stretch, _ = recipe.at(step)
        if random.Random(f"{recipe.seed}/near/{step}").random() < stretch.near_share:
            with nearsighted([self.attention(block) for block in recipe.near_blocks]):
                near: Tensor = self.model.base_model(ids).last_hidden_state
            return near
        states: Tensor = self.body(ids).last_hidden_state
        return states

    def attention(self, block: int) -> Any:
        """Return the attention module of a block."""
        body: Any = self.model.base_model
        return body.h[block].attn if hasattr(body, "h") else body.layers[block].self_attn

    def loss(self, rows: Tensor) -> Tensor:
        """Return the mean next-token loss of rows [b, context + 1]."""
        with torch.autocast(rows.device.type, torch.bfloat16):
            hidden = self.states(rows[:, :-1])
        weight = self.model.get_input_embeddings().weight
        loss: Tensor = SlicedCrossEntropy.apply(hidden.flatten(0, 1), weight, rows[:, 1:].flatten())
        if self.progress.step < self.recipe.sink_from:
            return loss
        # Every 32nd token serves as the first token of a context.
        with torch.autocast(rows.device.type, torch.bfloat16):
            sink = first_position_loss(self.model.base_model, rows[:, :-1:32].flatten())
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

    def rows(self, start: int, stretch: Stretch) -> Iterator[NDArray[np.int64]]:
        """Yield the remaining batches of a stretch; its text is drawn once and kept in `work`."""
        recipe, done = self.recipe, max(0, self.progress.step - start)
        if done >= stretch.steps:
            return
        tokens = (stretch.steps + 1) * recipe.rows * CONTEXT
        # The first stretch uses the corpus of the world's own seed.
        seed = f"{recipe.seed}/{start}" if start else recipe.seed
        corpus = Corpus(self.facts, self.held, seed, stretch.mix)
        stream = token_stream(corpus, self.tokenizer, tokens, self.work / f"{start}-{tokens}.npy")
        every = batches(stream, CONTEXT, recipe.rows, seed)
        yield from islice(every, done, stretch.steps)

    def run(self, folder: Path) -> None:
        """Train to the last step; save checkpoints in `work` and the model in `folder`."""
        self.model.train()
        begun, recent = time.monotonic() - self.progress.seconds, []
        for start, stretch in zip(self.recipe.starts(), self.recipe.stretches, strict=True):
            if stretch.restart and self.progress.step == start:
                self.optimizer = optimizer_for(self.model, self.recipe)
            for rows in self.rows(start, stretch):
                recent.append(self.step(torch.from_numpy(rows)))
                self.progress.seconds = time.monotonic() - begun
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
        checkpoint.save(self.checkpoint, self.model, self.optimizer, asdict(self.progress))
        export(self.model, self.tokenizer, folder)
        record = {"recipe": asdict(self.recipe), **asdict(self.progress)}
        (folder / "training.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer in Hugging Face format, float32."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
