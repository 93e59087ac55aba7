"""From prompts to token ids: the subject's last token, and a target's ids after its prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from editcore.errors import RequestError
from editcore.requests import SLOT

# The longest row of a bucket, as a multiple of its shortest.
PADDING = 1.2


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt's ids, the index of its subject's last token, and the subject's number of tokens."""

    ids: tuple[int, ...]
    subject: int
    subject_tokens: int


def tokenize_prompt(
    tokenizer: PreTrainedTokenizerBase, template: str, subject: str
) -> TokenizedPrompt:
    """Tokenise `template` with `subject` for its `{}`, and find the subject's last token.

    The last token is the one that covers the subject's last character; its index counts special
    tokens. Raises `RequestError` if the template names no subject, or if that token extends beyond
    the subject, because an edit there would change other words too.
    """
    if SLOT not in template:
        raise RequestError(
            f"the prompt {template!r} names no subject; give one, with '{{}}' in its place"
        )
    start = template.index(SLOT)
    end = start + len(subject)
    encoded = tokenizer(template.replace(SLOT, subject, 1), return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(spans) if a < end and b > start and b > a]
    if not inside:
        raise RequestError(
            f"the subject {subject!r} has no token of its own in {template!r}; reword the prompt"
        )
    if spans[inside[-1]][1] > end:
        raise RequestError(
            f"the subject {subject!r} ends inside a token of {template!r}; put a space after it"
        )
    return TokenizedPrompt(tuple(encoded["input_ids"]), inside[-1], len(inside))


def continuation_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str, target: str, gap: str = " "
) -> tuple[int, ...]:
    """The ids that `target` adds after `prompt`, with `gap` between them, a space or nothing.

    There is none after a line break, with which a prompt in most chats ends. If the tokenizer would
    merge across the border, the target is tokenised alone. Raises `RequestError` for a prompt or a
    target without tokens.
    """
    spaced = ("" if prompt.endswith("\n") else gap) + target.lstrip(" ")
    before = tokenizer(prompt)["input_ids"]
    if not before:
        raise RequestError(f"the prompt {prompt!r} has no tokens; write one")
    both = tokenizer(prompt + spaced)["input_ids"]
    if both[: len(before)] == before and len(both) > len(before):
        return tuple(both[len(before) :])
    alone = tokenizer(spaced, add_special_tokens=False)["input_ids"]
    if not alone:
        raise RequestError(f"the target {target!r} has no tokens; write one")
    return tuple(alone)


@dataclass(frozen=True)
class PaddedRows:
    """Rows padded to one length; `mask` is 1 at real tokens."""

    ids: Int[Tensor, "row position"]
    mask: Int[Tensor, "row position"]
    positions: Int[Tensor, "row position"]

    @property
    def length(self) -> int:
        """Number of tokens in a row, including padding."""
        return int(self.ids.shape[1])

    def without_last(self) -> "PaddedRows":
        """The rows without their last column, for predictions of what follows in them."""
        return PaddedRows(self.ids[:, :-1], self.mask[:, :-1], self.positions[:, :-1])

    def rows(self, index: Int[Tensor, " chosen"]) -> "PaddedRows":
        """Chosen rows; one may be chosen several times."""
        return PaddedRows(self.ids[index], self.mask[index], self.positions[index])


def pad_rows(
    rows: Sequence[Sequence[int]],
    pad_id: int,
    side: Literal["left", "right"],
    device: torch.device,
    length: int = 0,
) -> PaddedRows:
    """Pad rows of ids to the longest, or to `length` if that is more.

    Positions count the real tokens from 0, on whichever side the padding is.
    """
    length = max(length, *map(len, rows))
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return PaddedRows(ids.to(device), mask.to(device), positions.to(device))


def bucket_by_length(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Group the indices of rows of similar length, shortest first; padding stays below a fifth.

    A group holds at most `tokens` tokens, including padding, or one row.

    >>> bucket_by_length([10, 30, 11, 29], tokens=1000)
    [[0, 2], [3, 1]]
    """
    groups: list[list[int]] = [[]]
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        group, length = groups[-1], lengths[i]
        full = (len(group) + 1) * length > tokens
        if group and (full or length > PADDING * lengths[group[0]]):
            groups.append([])
        groups[-1].append(i)
    return [group for group in groups if group]
