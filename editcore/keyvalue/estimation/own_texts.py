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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

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
# The speed is measured over ever more of these steps, until that has taken this many seconds.
WARM_UP_STEPS, WARM_UP_SECONDS = (1, 2, 4, 8), 1.0

ResultT = TypeVar("ResultT")


def write_own_texts(
    model: "LoadedModel", tokens: int, seed: int, checkpoint: Checkpoint | None = None
) -> list[str]:
    """Texts by the model, as many as are needed for `tokens` tokens, as its tokenizer reads them.

    With a checkpoint, the texts of an earlier run that was killed are kept. Raises what `OwnTexts`
    raises.
    """
    return list(OwnTexts(model, tokens, seed, checkpoint))


class OwnTexts:
    """Texts by a model until they have `tokens` tokens, each written when it is asked for.

    The same whatever the number of cores: each text has random numbers of its own, the same texts
    are always batched together, and on a CPU each batch is computed by one thread, several batches
    at a time. `kept` are texts of an earlier run with the same seed, whole batches of them; those
    of a checkpoint are kept, too. `texts` are all so far. Iterating raises `ModelError` where
    probabilities are not finite, the tokenizer has no word to begin with, or what the model writes
    has no tokens.
    """

    def __init__(
        self,
        model: "LoadedModel",
        tokens: int,
        seed: int,
        checkpoint: Checkpoint | None = None,
        kept: Sequence[str] = (),
    ) -> None:
        self._model, self._tokens, self._checkpoint = model, tokens, checkpoint
        self._writer = _Writer(model, seed)
        found = checkpoint.read() if checkpoint is not None else None
        earlier = found.state["texts"] if found is not None else ()
        self.texts = list(max(kept, earlier, key=len))

    def __iter__(self) -> Iterator[str]:
        total = 0
        title = f"texts by {self._model.name}"
        with progress_bar(total=self._tokens, unit="token", title=title) as bar:
            for new in self._batches(_Drawn(bar, self._tokens)):
                for text, size in zip(new, self._counts(new), strict=True):
                    if total >= self._tokens:
                        return
                    total += size
                    yield text

    def _batches(self, drawn: "_Drawn") -> Iterator[list[str]]:
        """The texts that there are, then new ones until there are enough tokens; all are kept."""
        counted = sum(self._counts(self.texts))
        drawn.finish(0, counted)
        yield list(self.texts)
        while counted < self._tokens:
            asked = self._tokens - counted
            for new in self._writer.texts(len(self.texts), asked, drawn.add):
                size = sum(self._counts(new))
                drawn.finish(len(new) * self._writer.steps, size)
                counted += size
                if not counted:
                    raise ModelError(f"model {self._model.name!r} writes no text that has tokens")
                self.texts += new
                if self._checkpoint is not None:
                    self._checkpoint.write_if_due(partial(Progress, {}, {"texts": self.texts}))
                yield new

    def seconds(self) -> float:
        """How long it takes to write what is missing, by the time of a few steps."""
        missing = self._tokens - sum(self._counts(self.texts))
        return missing / self._writer.speed() if missing > 0 else 0.0

    def _counts(self, texts: Sequence[str]) -> list[int]:
        return [len(self._model.tokenizer(text)["input_ids"]) for text in texts]


@dataclass
class _Drawn:
    """Moves a bar with each token that is drawn, in any thread, and corrects it when texts end."""

    bar: Any
    most: int
    counted: int = 0
    unfinished: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, tokens: int) -> None:
        """Some more tokens of unfinished texts."""
        with self.lock:
            self.unfinished += tokens
            self._show()

    def finish(self, drawn: int, counted: int) -> None:
        """Count finished texts: the tokens drawn for them, and those that the tokenizer reads."""
        with self.lock:
            self.unfinished -= drawn
            self.counted += counted
            self._show()

    def _show(self) -> None:
        self.bar.update(min(self.counted + self.unfinished, self.most) - self.bar.n)


def save(texts: Sequence[str], path: Path) -> None:
    """Write texts as a JSON list, whole or not at all."""
    write_text(path, json.dumps(list(texts), indent=0, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class _Writer:
    """A model that writes numbered texts, each from a seed of its own."""

    model: "LoadedModel"
    seed: int

    @cached_property
    def length(self) -> int:
        """Tokens in a text, a start token counted."""
        return min(LENGTH, self.model.max_positions)

    @property
    def steps(self) -> int:
        """Tokens of a text that are drawn from the model's probabilities."""
        return self.length - max(len(self.start), 1)

    def texts(self, first: int, tokens: int, drawn: Callable[[int], None]) -> Iterator[list[str]]:
        """The texts from number `first`, in whole batches, of about `tokens` tokens.

        On a CPU several batches are written at a time. `drawn` is called with the number of tokens
        of each step, in any thread.
        """
        rows = self._rows_at_once
        number = -(-tokens // (rows * self.length))
        batches = [range(first + i * rows, first + (i + 1) * rows) for i in range(number)]
        for start in range(0, number, self._batches_at_once):
            some = batches[start : start + self._batches_at_once]
            yield from self._together(lambda batch: self._batch(batch, drawn), some)

    def speed(self) -> float:
        """Tokens written in a second, from a few steps."""
        batches = [range(self._rows_at_once)] * self._batches_at_once
        opening = self.length - self.steps
        for steps in WARM_UP_STEPS:
            started = time.perf_counter()
            self._together(partial(self.tokens, length=opening + steps), batches)
            seconds = time.perf_counter() - started
            if seconds > WARM_UP_SECONDS and steps > WARM_UP_STEPS[0]:
                break
        return len(batches) * self._rows_at_once * steps / seconds

    @property
    def _batches_at_once(self) -> int:
        return torch.get_num_threads() if self.model.device.type == "cpu" else 1

    def _together(
        self, write: Callable[[range], ResultT], batches: Sequence[range]
    ) -> list[ResultT]:
        """What `write` returns for each batch; on a CPU, each has a thread.

        The threads have ended when this returns, so that whoever reads the texts has all cores.
        """
        if self.model.device.type != "cpu":
            return [write(batch) for batch in batches]
        with _one_thread_each(), ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(write, batches))

    @cached_property
    def _rows_at_once(self) -> int:
        config = self.model.model.config
        width = self.model.parts.depth * 2 * int(config.hidden_size)
        room = CACHE_BYTES.get(self.model.device.type, CACHE_BYTES_ELSEWHERE)
        return max(1, min(MOST_ROWS, room // (4 * width * self.length)))

    def _batch(self, numbers: Sequence[int], drawn: Callable[[int], None]) -> list[str]:
        rows = self.tokens(numbers, self.length, drawn)[:, len(self.start) :]
        return [str(self.model.tokenizer.decode(row)) for row in rows]

    @torch.no_grad()
    def tokens(
        self, numbers: Sequence[int], length: int, drawn: Callable[[int], None] = lambda _: None
    ) -> Int[Tensor, "row position"]:
        """The first `length` ids of some texts, their start token before them."""
        numbers_drawn = torch.stack([self.drawn(number) for number in numbers], dim=1)
        ids = self._openings(numbers_drawn[0])
        known = cache([])
        fresh = ids
        while ids.shape[1] < length:
            states = read_after(
                self.model.model,
                fresh.to(self.model.device),
                torch.ones_like(ids, device=self.model.device),
                torch.arange(ids.shape[1] - fresh.shape[1], ids.shape[1])
                .expand_as(fresh)
                .to(self.model.device),
                known,
            )
            fresh = self._next(self.model.parts.logits(states[:, -1]), numbers_drawn[ids.shape[1]])
            ids = torch.cat([ids, fresh], dim=1)
            drawn(len(ids))
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
def _one_thread_each() -> Iterator[None]:
    """A block in which torch computes with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
