"""The log-probability of continuations after contexts, each context read once.

Many continuations share a context, as the choices of a question do; the first token of each is
predicted by the context's last, so that continuations of one token cost nothing more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from editcore.evaluation.prefix_cache import Contexts, Read, Resumable, Room, Tokens
from editcore.models.batch_size import rows_of_logits, tokens_per_pass
from editcore.models.kv_cache import read_after
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import bucket_by_length, pad_rows

Pair = tuple[Tokens, Tokens]


@dataclass(frozen=True)
class Scored:
    """log p(continuation | context) in nats, and whether each of its tokens is the most probable.

    `finite` is whether all logits at its tokens are.
    """

    log_probability: float
    greedy: bool
    finite: bool


@dataclass
class _Batch:
    """Contexts with their continuations (`pairs`).

    For each pair, `row` is the row of its context, `first` its continuation's first token. `longer`
    are the pairs with two tokens and more, `tails` those tokens but the last, padded on the right,
    and `targets` those from the second on.
    """

    pairs: Sequence[int]
    contexts: Contexts
    row: Int[Tensor, " pair"]
    first: Int[Tensor, " pair"]
    longer: Int[Tensor, " longer"]
    tails: Resumable | None
    targets: Int[Tensor, "longer position"]


class Continuations:
    """Pairs of context and continuation in tokens, batched once and scored after every edit."""

    def __init__(self, model: LoadedModel, pairs: Iterable[Pair]) -> None:
        """Contexts, and then continuations, that are too long lose their beginning."""
        self._model, self._room = model, Room.on(model)
        self._pairs = [_fit(pair, model.max_positions) for pair in pairs]
        together: dict[Tokens, list[int]] = {}
        for i, (context, _) in enumerate(self._pairs):
            together.setdefault(context, []).append(i)
        contexts = list(together)
        batches = bucket_by_length([len(context) for context in contexts], tokens_per_pass(model))
        self._batches = [
            self._lay_out([contexts[i] for i in batch], [together[contexts[i]] for i in batch])
            for batch in batches
        ]

    def _lay_out(self, contexts: Sequence[Tokens], members: Sequence[Sequence[int]]) -> _Batch:
        model = self._model
        row, pairs = zip(*((r, i) for r, own in enumerate(members) for i in own), strict=True)
        tokens = [self._pairs[i][1] for i in pairs]
        longer = [k for k, continuation in enumerate(tokens) if len(continuation) > 1]
        heads, ends = [tokens[k][:-1] for k in longer], [tokens[k][1:] for k in longer]
        nothing = torch.zeros(0, 0, dtype=torch.long, device=model.device)
        return _Batch(
            pairs,
            Contexts.of(model, contexts, self._room),
            torch.tensor(row, device=model.device),
            torch.tensor([continuation[0] for continuation in tokens], device=model.device),
            torch.tensor(longer, dtype=torch.long, device=model.device),
            Resumable(model, pad_rows(heads, model.pad_id, "right", model.device), self._room)
            if longer
            else None,
            pad_rows(ends, 0, "right", model.device).ids if longer else nothing,
        )

    @torch.no_grad()
    def scores(self, start: int = -1) -> list[Scored]:
        """Each pair's score by the model, whose blocks up to `start` are unedited."""
        found: dict[int, Scored] = {}
        with self._model.arithmetic():
            for batch in self._batches:
                found |= zip(batch.pairs, self._of(batch, start), strict=True)
        return [found[i] for i in range(len(self._pairs))]

    def _of(self, batch: _Batch, start: int) -> list[Scored]:
        read = batch.contexts.read(start)
        every = torch.arange(len(batch.row), device=batch.row.device)
        parts = [(every, *self._predicted(read.last, batch.row, batch.first))]
        if batch.tails is not None:
            real = batch.tails.padded.mask.bool()
            states = self._states(batch, batch.tails, read, start)[real]
            own = batch.longer[:, None].expand_as(real)[real]
            place = torch.arange(len(states), device=own.device)
            parts.append((own, *self._predicted(states, place, batch.targets[real])))
        pair, log_p, best, finite = (torch.cat(column) for column in zip(*parts, strict=True))
        total = torch.zeros(len(every), dtype=torch.float64, device=pair.device)
        total = total.index_add(0, pair, log_p.double())
        wrong, bad = (
            torch.zeros_like(total).index_add(0, pair, (~x).double()) for x in (best, finite)
        )
        columns = (total.tolist(), (wrong == 0).tolist(), (bad == 0).tolist())
        return [Scored(*values) for values in zip(*columns, strict=True)]

    def _states(
        self, batch: _Batch, tails: Resumable, read: Read, start: int
    ) -> Float[Tensor, "longer position d_model"]:
        """The last hidden states at the tokens of `tails`."""
        before = read.rows(batch.row[batch.longer])
        mask = torch.cat([before.mask, tails.padded.mask], 1)
        positions = before.lengths[:, None] + tails.padded.positions

        def run(known: DynamicCache) -> Tensor:
            return read_after(self._model.model, tails.padded.ids, mask, positions, known)

        return tails.read(start, run, before.past)[0]

    def _predicted(
        self,
        states: Float[Tensor, "row d_model"],
        place: Int[Tensor, " place"],
        token: Int[Tensor, " place"],
    ) -> tuple[Float32[Tensor, " place"], Bool[Tensor, " place"], Bool[Tensor, " place"]]:
        """Each token's log-probability, whether it is the argmax, and whether logits are finite.

        Token i is predicted from `states[place[i]]`.
        """
        chunk = rows_of_logits(self._model)
        found = []
        for first in range(0, len(states), chunk):
            logits = self._model.parts.logits(states[first : first + chunk]).float()
            here = ((place >= first) & (place < first + chunk)).nonzero()[:, 0]
            row, wanted = place[here] - first, token[here]
            scores, best = logits.log_softmax(-1), logits.argmax(-1)
            finite = logits.isfinite().all(-1)
            found.append((here, scores[row, wanted], best[row] == wanted, finite[row]))
        here, *columns = (torch.cat(column) for column in zip(*found, strict=True))
        back = here.argsort()
        log_p, best, finite = (column[back] for column in columns)
        return log_p, best, finite


def _fit(pair: Pair, positions: int) -> Pair:
    """A pair whose tokens, except the last, fit into the model, the context cut from the left."""
    context, continuation = pair
    continuation = continuation[-positions:]
    return context[-(positions + 1 - len(continuation)) :], continuation
