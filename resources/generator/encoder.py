"""Trains the bundled T5 encoder by span corruption."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from resources.generator.spans import corrupt, sentinels
from resources.generator.train import Trainer

ENCODERS = ("tiny-t5",)
SCORED = 200


class SpanTrainer(Trainer):
    """An encoder in training; its decoder is only used for training."""

    def make_tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the decoders' tokenizer with the sentinels after its own tokens."""
        tokenizer = super().make_tokenizer()
        tokenizer.add_special_tokens({"additional_special_tokens": sentinels()})
        return tokenizer

    def loss(self, rows: Tensor) -> Tensor:
        """Return the mean loss of the replaced spans for rows [b, context + 1]."""
        rng = random.Random(f"{self.recipe.seed}/spans/{self.progress.step}")
        seen, written = corrupted(rows[:, :-1].tolist(), self.tokenizer, rng)
        with torch.autocast(rows.device.type, torch.bfloat16):
            loss: Tensor = self.model(input_ids=seen, labels=written).loss
        return loss


def corrupted(
    rows: Sequence[Sequence[int]], tokenizer: Any, rng: random.Random
) -> tuple[Tensor, Tensor]:
    """Return rows of one length with their spans replaced, and the texts to predict."""
    marks = tokenizer.convert_tokens_to_ids(sentinels())
    pairs = [corrupt(row, marks, rng) for row in rows]
    return torch.tensor([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])


def score_encoder(folder: Path, world: Path, limit: int | None = None) -> dict[str, Any]:
    """Measure how well the spans of held-out texts are predicted; write `scores.json`."""
    model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)
    texts = [t["Text"] for t in json.loads((world / "perplexity.json").read_text(encoding="utf-8"))]
    rng = random.Random("score")
    losses, hits, tokens = [], 0, 0
    for text in texts[: limit or SCORED]:
        seen, written = corrupted([tokenizer(text)["input_ids"]], tokenizer, rng)
        with torch.inference_mode():
            answer = model(input_ids=seen, labels=written)
        losses.append(answer.loss.item())
        hits += int((answer.logits.argmax(-1) == written).sum())
        tokens += written.numel()
    scores = {
        "texts": len(losses),
        "loss": round(sum(losses) / len(losses), 4),
        "accuracy": round(hits / tokens, 4),
    }
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    return scores
