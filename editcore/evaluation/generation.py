"""Greedy generation: the text after a context, always taking the most probable token."""

import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import compress, takewhile
from typing import Any

import torch
from transformers import GenerationConfig

from editcore.evaluation.overlay import Overlay, edited_models
from editcore.evaluation.prefix_cache import Contexts, Read, Room, Tokens
from editcore.models.batch_size import tokens_held, tokens_per_pass
from editcore.models.kv_cache import cache, held, read_after
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import bucket_by_length
from editcore.updates.change import Change

# Given indices of contexts, a block in which these are read, in that order.
Reading = Callable[[Sequence[int]], AbstractContextManager[None]]


@dataclass(frozen=True)
class Generated:
    """A generated text, and whether all logits were finite."""

    text: str
    finite: bool


@dataclass
class _Row:
    """A context's index, and the tokens generated after it."""

    index: int
    tokens: list[int]
    finite: bool = True


class Answering:
    """Contexts in tokens, batched once and continued after every edit.

    An answer ends at a stop, at the model's end of text, after `most` tokens, or at logits that are
    not finite; the text is cut before the stop. When some have ended, the next contexts are read,
    so that each pass has many rows: for one row it takes half as long as for ten.
    """

    def __init__(
        self, model: LoadedModel, contexts: Sequence[Tokens], stops: Sequence[str], most: int
    ) -> None:
        """Contexts that leave no room for `most` tokens lose their beginning."""
        self._model, self._stops, self._most = model, [stop for stop in stops if stop], most
        kept = [context[-max(1, model.max_positions - most) :] for context in contexts]
        room = Room.on(model)
        self._batches = [
            (batch, Contexts.of(model, [kept[i] for i in batch], room))
            for batch in bucket_by_length(
                [len(context) for context in kept], tokens_per_pass(model)
            )
        ]

    @torch.no_grad()
    def answers(
        self, start: int = -1, reading: Reading = lambda _: nullcontext()
    ) -> list[Generated]:
        """The model's answer to each context; its blocks up to `start` are unedited.

        Each forward pass runs inside `reading` of its contexts.
        """
        found: dict[int, Generated] = {}
        waiting, rows = deque(self._batches), list[_Row]()
        read: Read | None = None
        with self._model.arithmetic():
            while waiting or rows:
                while waiting and self._fits(waiting[0][1], read):
                    batch, contexts = waiting.popleft()
                    with reading(batch):
                        new = contexts.read(start)
                    read = Read.joined([read, new]) if read else new
                    rows += [_Row(i, []) for i in batch]
                assert read is not None
                self._choose_tokens(rows, read)
                ended = [self._ended(row) for row in rows]
                found |= {row.index: self._answer(row) for row in compress(rows, ended)}
                if any(ended):
                    going = [i for i, done in enumerate(ended) if not done]
                    rows = [rows[i] for i in going]
                    read = read.rows(torch.tensor(going, device=read.last.device)) if rows else None
                if read is not None:
                    read = self._next(read, rows, reading)
        return [found[i] for i in range(len(found))]

    def _fits(self, contexts: Contexts, read: Read | None) -> bool:
        """Whether the keys and values of more contexts fit into memory, next to those of `read`."""
        if read is None:
            return True
        more, longest = contexts.rows.padded.ids.shape
        rows, width = read.mask.shape
        return (rows + more) * max(width, longest + self._most) <= tokens_held(self._model)

    def _choose_tokens(self, rows: Sequence[_Row], read: Read) -> None:
        """Add to each row its likeliest next token."""
        logits = self._model.parts.logits(read.last).float()
        finite = logits.isfinite().all(-1).tolist()
        for row, token, sound in zip(rows, logits.argmax(-1).tolist(), finite, strict=True):
            row.finite = sound
            row.tokens += [token] if sound else []

    def _next(self, read: Read, rows: Sequence[_Row], reading: Reading) -> Read:
        """What was read, and the newest token of each row."""
        tokens = [row.tokens[-1] for row in rows]
        ids = torch.tensor(tokens, device=read.last.device)[:, None]
        mask = torch.cat([read.mask, torch.ones_like(ids)], 1)
        known = cache(read.past)
        with reading([row.index for row in rows]):
            states = read_after(self._model.model, ids, mask, read.lengths[:, None], known)
        return Read(states[:, -1], mask, read.lengths + 1, held(known))

    def _ended(self, row: _Row) -> bool:
        if not row.finite or len(row.tokens) == self._most:
            return True
        if row.tokens[-1] == self._model.tokenizer.eos_token_id:
            return True
        text = self._decoded(row)
        return any(stop in text for stop in self._stops)

    def _answer(self, row: _Row) -> Generated:
        return Generated(_before(self._decoded(row), self._stops), row.finite)

    def _decoded(self, row: _Row) -> str:
        return str(self._model.tokenizer.decode(row.tokens, skip_special_tokens=True))


def continuations(
    model: LoadedModel, prompts: Sequence[str], tokens: int, stops: Sequence[str] = ()
) -> list[str]:
    """The text of up to `tokens` tokens after each prompt, before the first of the `stops`.

    It ends early at the end of text, at the model's last position, and at logits that are not
    finite. Each prompt is read alone and in full for every token, so that any patch works.
    """
    return [_continuation(model, prompt, tokens, stops).text for prompt in prompts]


def _continuation(model: LoadedModel, prompt: str, tokens: int, stops: Sequence[str]) -> Generated:
    ids = torch.tensor([model.tokenizer(prompt)["input_ids"]], device=model.device)
    length = ids.shape[1]
    if (room := min(tokens, model.max_positions - length)) <= 0:
        return Generated("", finite=True)
    # A copy without the checkpoint's own settings, such as a penalty on repetition; it shares all
    # weights and hooks.
    generator: Any = copy.copy(model.model)
    generator.generation_config = GenerationConfig(
        max_new_tokens=room,
        eos_token_id=model.tokenizer.eos_token_id,
        pad_token_id=model.pad_id,
        use_cache=False,
        output_logits=True,
        return_dict_in_generate=True,
    )

    def ended(ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        text = model.tokenizer.decode(ids[0, length:], skip_special_tokens=True)
        return torch.tensor([any(stop in text for stop in stops)], device=ids.device)

    made = generator.generate(
        ids, attention_mask=torch.ones_like(ids), stopping_criteria=[ended] if stops else None
    )
    sound = [*takewhile(lambda logits: bool(logits.isfinite().all()), made.logits)]
    new = made.sequences[0, length : length + len(sound)]
    text = str(model.tokenizer.decode(new, skip_special_tokens=True))
    return Generated(_before(text, stops), finite=len(sound) == len(made.logits))


def _before(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of the stops in it."""
    for stop in stops:
        text = text.split(stop)[0]
    return text


def unedited_answers(
    model: LoadedModel, prompts: Sequence[str], tokens: int, stops: Sequence[str] = ()
) -> list[Generated]:
    """The model's answer to each prompt, up to a stop or `tokens` tokens; many in one pass."""
    asked = Answering(model.frozen, _contexts(model, prompts), stops, tokens)
    return asked.answers()


def edited_answers(
    model: LoadedModel,
    prompts: Sequence[Sequence[str]],
    changes: Sequence[Change],
    tokens: int,
    stops: Sequence[str] = (),
) -> list[list[Generated]]:
    """The answers after each edit to its own `prompts`; many edits in one pass.

    Returns the answers of each edit in the order of its prompts.
    """
    found: dict[int, list[Generated]] = {}
    for group in edited_models(model, changes):
        asked = [prompts[i] for i in group.members]
        if isinstance(group, Overlay):
            found |= zip(group.members, _overlaid(model, group, asked, tokens, stops), strict=True)
            continue
        for i in group.members:
            with group.in_place(), group.reader.arithmetic():
                found[i] = [
                    _continuation(group.reader, prompt, tokens, stops) for prompt in prompts[i]
                ]
    return [found[i] for i in range(len(changes))]


def _overlaid(
    model: LoadedModel,
    overlay: Overlay,
    prompts: Sequence[Sequence[str]],
    tokens: int,
    stops: Sequence[str],
) -> Iterator[list[Generated]]:
    """The answers from each edited model of an overlay."""
    owners = torch.tensor(
        [member for member, own in enumerate(prompts) for _ in own], device=overlay.reader.device
    )
    contexts = _contexts(model, [prompt for own in prompts for prompt in own])
    asked = Answering(overlay.reader, contexts, stops, tokens)
    answers = iter(asked.answers(reading=lambda rows: overlay.laid_over(owners[[*rows]])))
    for own in prompts:
        yield [next(answers) for _ in own]


def _contexts(model: LoadedModel, prompts: Sequence[str]) -> list[Tokens]:
    return [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
