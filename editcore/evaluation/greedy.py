"""What models say when they may go on: greedy continuations of prompts, before and after edits."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch

from editcore.evaluation.generation import Answering
from editcore.evaluation.overlay import Overlay, edited_models
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import pad_rows
from editcore.updates.change import Change


def ask_to_go_on(
    model: LoadedModel, prompts: Sequence[str], changes: Sequence[Change], tokens: int
) -> list[tuple[str, str]]:
    """How each prompt goes on before and after its own edit, many edits in one pass.

    Up to `tokens` tokens, the most probable one each time; less where the text ends or the logits
    are not finite.
    """
    contexts = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    before = [said.text for said in Answering(model.frozen, contexts, [], tokens).answers()]
    after: dict[int, str] = {}
    for group in edited_models(model, changes):
        if isinstance(group, Overlay):
            asked = Answering(group.reader, [contexts[i] for i in group.members], [], tokens)
            said = asked.answers(reading=partial(_laid_over, group))
            after |= zip(group.members, (answer.text for answer in said), strict=True)
            continue
        for i in group.members:
            with changes[i].applied(model.model):
                (after[i],) = continuations(model, [prompts[i]], tokens)
    return [(text, after[i]) for i, text in enumerate(before)]


def _laid_over(overlay: Overlay, rows: Sequence[int]) -> AbstractContextManager[None]:
    """A block in which row i of each pass is the edited model `rows[i]`."""
    return overlay.laid_over(torch.tensor(rows, device=overlay.reader.device))


@torch.no_grad()
def continuations(model: LoadedModel, prompts: Sequence[str], tokens: int) -> list[str]:
    """The most probable next `tokens` tokens behind each prompt, one at a time, as text.

    Where the text ends or the logits are not finite, nothing more is said. Every token is read
    anew in rows padded on the right, as patches ask for.
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
            if token == model.tokenizer.eos_token_id:
                going.discard(i)
    return [str(model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in said]


def _next(model: LoadedModel, rows: Sequence[Sequence[int]]) -> list[int]:
    """The most probable next token of each row; -1 where the logits are not finite."""
    batch = pad_rows(rows, model.pad_id, "right", model.device)
    hidden = model.model.base_model(
        input_ids=batch.ids, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    last = batch.mask.sum(1) - 1
    logits = model.parts.logits(hidden[torch.arange(len(rows), device=last.device), last])
    best = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1)
    return [int(token) for token in best]
