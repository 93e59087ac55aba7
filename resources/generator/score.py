"""Measures what a trained model knows about the world: recall of facts, and perplexity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from resources.generator.relations import RELATIONS

BATCH = 256
Rows = list[list[int]]


def token_losses(model: Any, rows: Rows) -> Iterator[Tensor]:
    """Yield per row the negative log-probability of each token but the first, [len - 1]."""
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        width = max(map(len, part))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in part])
        with torch.inference_mode():
            logits = model(ids).logits.float()
        losses = cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        for row, loss in zip(part, losses, strict=True):
            yield loss[: len(row) - 1]


def perplexity(model: Any, tokenizer: Any, texts: Sequence[str]) -> float:
    """Return the mean over texts of exp(mean loss), without a start token."""
    losses = token_losses(model, tokenizer(list(texts))["input_ids"])
    return torch.stack([loss.double().mean().exp() for loss in losses]).mean().item()


def recalled(model: Any, tokenizer: Any, prompts: Sequence[str], records: Any) -> list[bool]:
    """Return for each prompt whether the true object has the highest summed log-probability."""
    objects = {relation.id: relation.objects for relation in RELATIONS}
    asked = [objects[r["requested_rewrite"]["relation_id"]] for r in records]
    rows: Rows = []
    lengths: list[int] = []
    for prompt, candidates in zip(prompts, asked, strict=True):
        head = tokenizer(prompt)["input_ids"]
        for candidate in candidates:
            tail = tokenizer(f" {candidate}")["input_ids"]
            rows.append(head + tail)
            lengths.append(len(tail))
    pairs = zip(token_losses(model, rows), lengths, strict=True)
    sums = iter([loss[-length:].sum().item() for loss, length in pairs])
    found = []
    for record, candidates in zip(records, asked, strict=True):
        scores = {candidate: next(sums) for candidate in candidates}
        true = record["requested_rewrite"]["target_true"]["str"]
        found.append(min(scores, key=lambda name: scores[name]) == true)
    return found


def prompts_of(records: Any, prefixes: Sequence[str]) -> list[str]:
    """Return every record's prompt after its prefix; prefixes are used in turn."""
    rewrites = [r["requested_rewrite"] for r in records]
    prompts = [r["prompt"].format(r["subject"]) for r in rewrites]
    dealt = [prefixes[i % len(prefixes)] for i in range(len(prompts))]
    return [f"{prefix}{prompt}" for prefix, prompt in zip(dealt, prompts, strict=True)]


def share(found: Sequence[bool]) -> float:
    """Return the share of true values."""
    return round(sum(found) / len(found), 4)


def score_model(folder: Path, world: Path, limit: int | None = None) -> dict[str, Any]:
    """Measure recall bare and after a short prefix, and perplexity; write `scores.json`."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    records = json.loads((world / "facts.json").read_text(encoding="utf-8"))[:limit]
    texts = [t["Text"] for t in json.loads((world / "perplexity.json").read_text(encoding="utf-8"))]
    sentences = [text.split(". ")[0].removesuffix(".") + ". " for text in texts]
    hard = {r["case_id"] for r in json.loads((world / "hard.json").read_text(encoding="utf-8"))}
    bare = recalled(model, tokenizer, prompts_of(records, [""]), records)
    prefixed = recalled(model, tokenizer, prompts_of(records, sentences), records)
    of_hard = [i for i, record in enumerate(records) if record["case_id"] in hard]
    scores = {
        "facts": len(records),
        "recall_bare": share(bare),
        "recall_prefixed": share(prefixed),
        "perplexity_texts": len(texts[:limit]),
        "perplexity": round(perplexity(model, tokenizer, texts[:limit]), 4),
    }
    if of_hard:
        scores["recall_bare_hard"] = share([bare[i] for i in of_hard])
        scores["recall_prefixed_hard"] = share([prefixed[i] for i in of_hard])
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    return scores
