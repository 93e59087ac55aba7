"""What models say when they may go on: greedy continuations of prompts, before and after edits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from editcore.answering import Answering
from editcore.changes import Change
from editcore.deltas import Delta, DenseUpdate, LowRankUpdate, Update
from editcore.memory import budget
from editcore.models import LoadedModel
from editcore.overlay import Overlay, edited_models
from editcore.tokens import pad


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
    for places, parts in _together([_split(model, change) for change in changes], model):
        for group in edited_models(model, [part.rest for part in parts]):
            members = [places[k] for k in group.members]
            if isinstance(group, Overlay):
                biases = _stacked([parts[k].biases for k in group.members])
                asked = Answering(group.reader, [contexts[i] for i in members], [], tokens)
                said = asked.answers(reading=partial(_laid_over, group, biases))
                after |= zip(members, (answer.text for answer in said), strict=True)
                continue
            for i in members:
                with changes[i].applied(model.model):
                    (after[i],) = continuations(model, [prompts[i]], tokens)
    return [(text, after[i]) for i, text in enumerate(before)]


@dataclass(frozen=True)
class _Parts:
    """A change as passes can share it: dense matrices as low ranks, and its linear maps' biases.

    `biases` are by module; a change that passes cannot share is `rest` as it was.
    """

    rest: Change
    biases: Mapping[str, torch.Tensor]

    @property
    def size(self) -> int:
        """The bytes of its matrices."""
        updates = self.rest.updates.values() if isinstance(self.rest, Delta) else ()
        return sum(t.numel() * t.itemsize for update in updates for t in vars(update).values())


def _split(model: LoadedModel, change: Change) -> _Parts:
    """For single tokens, products with identities are faster than a pass for every edit."""
    if not isinstance(change, Delta):
        return _Parts(change, {})
    biases: dict[str, torch.Tensor] = {}
    matrices: dict[str, Update] = {}
    for name, update in change.updates.items():
        module, _, part = name.rpartition(".")
        if part == "bias" and f"{module}.weight" in change.updates:
            biases[module] = update.dense().float().to(model.device)
        else:
            matrices[name] = _factored(update)
    return _Parts(Delta(matrices), biases)


def _factored(update: Update) -> Update:
    if not isinstance(update, DenseUpdate) or update.change.ndim != 2:
        return update
    change = update.change
    d_out, d_in = change.shape
    if d_out < d_in:
        return LowRankUpdate(torch.eye(d_out).to(change), change.T)
    return LowRankUpdate(change, torch.eye(d_in).to(change))


def _together(
    parts: Sequence[_Parts], model: LoadedModel
) -> Iterator[tuple[range, Sequence[_Parts]]]:
    """Groups whose matrices fit an eighth of the budget."""
    largest = max((each.size for each in parts), default=0)
    step = max(1, budget(model.device) // 8 // max(1, largest))
    for first in range(0, len(parts), step):
        group = parts[first : first + step]
        yield range(first, first + len(group)), group


def _stacked(biases: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """By module, the biases of several edits, `[edits, 1, width]`; 0 where an edit has none."""
    known = {module: bias for each in biases for module, bias in each.items()}
    return {
        module: torch.stack([each.get(module, torch.zeros_like(bias)) for each in biases])[:, None]
        for module, bias in known.items()
    }


@contextmanager
def _laid_over(
    overlay: Overlay, biases: Mapping[str, torch.Tensor], rows: Sequence[int]
) -> Iterator[None]:
    """Row i of each pass is the edited model `rows[i]`."""
    edit = torch.tensor(rows, device=overlay.reader.device)
    with ExitStack() as stack:
        stack.enter_context(overlay.laid_over(edit))
        for name, bias in biases.items():
            module = overlay.reader.model.get_submodule(name)
            handle = module.register_forward_hook(partial(_plus, bias[edit]))
            stack.callback(handle.remove)
        yield


def _plus(bias: torch.Tensor, _: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
    return output + bias.to(output.dtype)


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
    batch = pad(rows, model.pad_id, "right", model.device)
    hidden = model.model.base_model(
        input_ids=batch.ids, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    last = batch.mask.sum(1) - 1
    logits = model.layout.logits(hidden[torch.arange(len(rows), device=last.device), last])
    best = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1)
    return [int(token) for token in best]
