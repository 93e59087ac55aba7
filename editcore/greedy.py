"""What a model says when it may go on: greedy continuations of a few prompts."""

from collections.abc import Sequence

import torch

from editcore.models import LoadedModel
from editcore.tokens import pad


@torch.no_grad()
def continuations(model: LoadedModel, prompts: Sequence[str], tokens: int) -> list[str]:
    """The most probable next `tokens` tokens behind each prompt, one at a time, as text.

    Where the logits are not finite, nothing more is said.
    """
    rows = [list(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    said: list[list[int]] = [[] for _ in prompts]
    going = set(range(len(rows)))
    for _ in range(tokens):
        if not going:
            break
        chosen = sorted(going)
        for i, token in zip(chosen, _next(model, [rows[i] for i in chosen]), strict=True):
            if token < 0 or len(rows[i]) >= model.max_positions:
                going.discard(i)
                continue
            rows[i].append(token)
            said[i].append(token)
    return [str(model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in said]


def _next(model: LoadedModel, rows: Sequence[Sequence[int]]) -> list[int]:
    """The most probable next token of each row; -1 where the logits are not finite."""
    batch = pad(rows, model.pad_id, "right", model.device)
    hidden = model.model.base_model(
        input_ids=batch.ids, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    last = batch.mask.sum(1) - 1
    logits = model.layout.logits(hidden[torch.arange(len(rows), device=last.device), last])
    best = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1)
    return [int(token) for token in best]
