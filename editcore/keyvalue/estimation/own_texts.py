"""Texts that a model writes itself, from which C is estimated if no corpus is at hand.

C is a mean over the keys of running text, and a model's own texts are running text: quantisation
and pruning that are calibrated on them do as well as on real data (Williams et al. 2025,
"Self-calibration for Language Model Quantization and Pruning"; Liu et al. 2024, "LLM-QAT"). How
they are sampled:

- At temperature 1 and from all tokens. Only then do texts follow the model's own distribution;
  top-k or top-p would leave out rare tokens, and where keys are rare C⁻¹ is largest.
- From the start token that the tokenizer puts before every text. If there is none, each text begins
  with a word drawn evenly from the vocabulary, as in LLM-QAT: the key at the first position is
  unlike all others, and a few chosen openings would give C only a few such keys.
- `LENGTH` tokens long, about a paragraph. Small models lose the thread in longer texts; shorter
  ones would give the first position too much weight. Special tokens are never drawn, so no text
  ends early.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from editcore.atomic import write_text
from editcore.errors import ModelError
from editcore.models.kv_cache import cache, read_after
from editcore.progress import progress_bar
from editcore.records.checkpoint import Checkpoint, Progress

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

LENGTH = 128
MOST_ROWS = 64
ANY_TEXT = "a"
# What attention keys and values of one batch may take; fixed, since batches decide how sums round.
CACHE_BYTES = {"cpu": 2**29}
CACHE_BYTES_ELSEWHERE = 2**33


def write_own_texts(
    model: "LoadedModel", tokens: int, seed: int, checkpoint: Checkpoint | None = None
) -> list[str]:
    """Texts by the model, as many as are needed for `tokens` tokens, as its tokenizer reads them.

    The same whatever the number of cores: each text has random numbers of its own, the same texts
    are always batched together, and on a CPU each batch is computed by one thread, several batches
    at a time. With a checkpoint, the texts of an earlier run that was killed are kept. Raises
    `ModelError` where probabilities are not finite, the tokenizer has no word to begin with, or
    what the model writes has no tokens.
    """
    writer = _Writer(model, seed)
    kept = checkpoint.read() if checkpoint is not None else None
    texts: list[str] = list(kept.state["texts"]) if kept is not None else []
    counts = _counts(model, texts)
    with progress_bar(total=tokens, unit="token", title=f"texts by {model.name}") as bar:
        bar.update(min(sum(counts), tokens))
        while sum(counts) < tokens:
            for new in writer.texts(len(texts), tokens - sum(counts)):
                texts += new
                counts += _counts(model, new)
                if not any(counts):
                    raise ModelError(f"model {model.name!r} writes no text that has tokens")
                bar.update(min(sum(counts), tokens) - bar.n)
                if checkpoint is not None:
                    checkpoint.write_if_due(partial(Progress, {}, {"texts": texts}))
    enough = next(i for i, total in enumerate(accumulate(counts), 1) if total >= tokens)
    return texts[:enough]


def save(texts: Sequence[str], path: Path) -> None:
    """Write texts as a JSON list, whole or not at all."""
    write_text(path, json.dumps(list(texts), indent=0, ensure_ascii=False) + "\n")


def _counts(model: "LoadedModel", texts: Sequence[str]) -> list[int]:
    return [len(model.tokenizer(text)["input_ids"]) for text in texts]


@dataclass(frozen=True)
class _Writer:
    """A model that writes numbered texts, each from a seed of its own."""

    model: "LoadedModel"
    seed: int

    @cached_property
    def length(self) -> int:
        """Tokens in a text, a start token counted."""
        return min(LENGTH, self.model.max_positions)

    def texts(self, first: int, tokens: int) -> Iterator[list[str]]:
        """The texts from number `first`, in whole batches, of about `tokens` tokens.

        On a CPU several batches are written at a time.
        """
        rows = self._rows_at_once
        number = -(-tokens // (rows * self.length))
        batches = [range(first + i * rows, first + (i + 1) * rows) for i in range(number)]
        if self.model.device.type != "cpu":
            yield from map(self._batch, batches)
            return
        with _one_thread_each() as workers:
            for start in range(0, len(batches), workers):
                with ThreadPoolExecutor(workers) as pool:
                    yield from pool.map(self._batch, batches[start : start + workers])

    @cached_property
    def _rows_at_once(self) -> int:
        config = self.model.model.config
        width = self.model.parts.depth * 2 * int(config.hidden_size)
        room = CACHE_BYTES.get(self.model.device.type, CACHE_BYTES_ELSEWHERE)
        return max(1, min(MOST_ROWS, room // (4 * width * self.length)))

    def _batch(self, numbers: Sequence[int]) -> list[str]:
        rows = self.tokens(numbers)[:, len(self.start) :]
        return [str(self.model.tokenizer.decode(row)) for row in rows]

    @torch.no_grad()
    def tokens(self, numbers: Sequence[int]) -> Int[Tensor, "row position"]:
        """The ids of some texts, their start token before them."""
        drawn = torch.stack([self.drawn(number) for number in numbers], dim=1)
        ids = self._openings(drawn[0])
        known = cache([])
        fresh = ids
        while ids.shape[1] < self.length:
            states = read_after(
                self.model.model,
                fresh.to(self.model.device),
                torch.ones_like(ids, device=self.model.device),
                torch.arange(ids.shape[1] - fresh.shape[1], ids.shape[1])
                .expand_as(fresh)
                .to(self.model.device),
                known,
            )
            fresh = self._next(self.model.parts.logits(states[:, -1]), drawn[ids.shape[1]])
            ids = torch.cat([ids, fresh], dim=1)
        return ids

    def drawn(self, number: int) -> Float64[Tensor, " position"]:
        """A number between 0 and 1 for each token of a text."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.rand(self.length, generator=generator, dtype=torch.float64)

    def _openings(self, drawn: Float64[Tensor, " row"]) -> Int[Tensor, "row position"]:
        if self.start:
            return torch.tensor(self.start).expand(len(drawn), -1)
        return self._words[(drawn * len(self._words)).long()][:, None]

    def _next(
        self, logits: Float[Tensor, "row vocabulary"], drawn: Float64[Tensor, " row"]
    ) -> Int[Tensor, "row 1"]:
        """The token at which the summed probabilities pass the number drawn."""
        exact = logits.float().cpu().double()
        if not exact.isfinite().all():
            raise ModelError(
                f"model {self.model.name!r} gives probabilities that are not finite in "
                f"{self.model.model.dtype}; choose another dtype, or download the weights again"
            )
        exact[:, self._never] = -torch.inf
        sums = exact.softmax(-1).cumsum(-1)
        # Times the last sum, which rounding keeps from being 1 exactly.
        return torch.searchsorted(sums, (drawn * sums[:, -1])[:, None], right=True)

    @cached_property
    def start(self) -> list[int]:
        """The special tokens that the tokenizer puts before a text."""
        tokenizer = self.model.tokenizer
        whole: list[int] = tokenizer(ANY_TEXT)["input_ids"]
        bare = tokenizer(ANY_TEXT, add_special_tokens=False)["input_ids"]
        places = range(len(whole) - len(bare) + 1)
        return whole[: next(i for i in places if whole[i : i + len(bare)] == bare)]

    @cached_property
    def _never(self) -> Bool[Tensor, " vocabulary"]:
        """Which ids are never drawn: special tokens, and those beyond the tokenizer's."""
        tokenizer = self.model.tokenizer
        never = torch.ones(int(self.model.model.config.vocab_size), dtype=torch.bool)
        never[: len(tokenizer)] = False
        added = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
        special = {i for i in (*tokenizer.all_special_ids, *added) if i < len(never)}
        never[torch.tensor(sorted(special), dtype=torch.long)] = True
        return never

    @cached_property
    def _words(self) -> Int[Tensor, " word"]:
        """The ids of tokens that are letters, apart from a space before them."""
        ids = torch.arange(len(self._never))[~self._never].tolist()
        texts = self.model.tokenizer.batch_decode([[i] for i in ids])
        words = [i for i, text in zip(ids, texts, strict=True) if text.strip().isalpha()]
        if not words:
            raise ModelError(
                f"the tokenizer of {self.model.name!r} has neither a start token nor a word to "
                "begin texts with; give `moments` a file of texts"
            )
        return torch.tensor(words)


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """A block in which torch computes with one thread; its usual number of threads is yielded."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
