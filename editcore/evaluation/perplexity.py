"""Perplexity as the papers measure it, over texts tokenised once and bucketed by length.

No start token; a text's perplexity is exp of the mean NLL of its tokens after the first; the
perplexity of several texts is their arithmetic mean ("The Butterfly Effect of Model Editing", §3).
The sums are kept too, for other means. A token whose NLL is not finite is counted, and makes its
text's perplexity infinite. The same passes measure how far an edited model's predictions moved from
the unedited model's (`editcore.evaluation.disturbance`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn.functional import log_softmax

from editcore.datasets.readers import read_texts
from editcore.errors import DataError
from editcore.evaluation.disturbance import Disturbance, Likeliest
from editcore.evaluation.overlay import (
    Activations,
    Applied,
    EditedModels,
    StartPoint,
    edited_models,
    recording_activations,
)
from editcore.models.batch_size import in_halves, rows_of_logits, tokens_per_pass
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows, bucket_by_length, pad_rows
from editcore.planning.jobs import PerplexitySpec
from editcore.updates.change import Change
from editcore.updates.delta import Delta

SeenT = TypeVar("SeenT")
# Called with the log-probabilities at a slice of the predicted tokens of a pass.
_See = Callable[[slice, Tensor], SeenT]


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as batches of rows of similar length; `order[i]` is the place of row i in the file."""

    batches: tuple[PaddedRows, ...]
    order: tuple[int, ...]


@dataclass(frozen=True)
class Perplexity:
    """Per text: the sum of NLLs in nats, the number of predicted tokens, and of non-finite ones.

    `disturbance` compares an edited model's predictions with the unedited model's, if those were
    given.
    """

    nll: Float64[Tensor, " text"]
    tokens: Int[Tensor, " text"]
    nonfinite: Int[Tensor, " text"]
    disturbance: Disturbance | None = None

    @property
    def per_text(self) -> Float64[Tensor, " text"]:
        """exp(mean NLL) of each text; inf if a token's NLL is not finite."""
        return (self.nll / self.tokens).exp()

    @property
    def mean(self) -> float:
        """The papers' perplexity: the arithmetic mean over texts."""
        return float(self.per_text.mean())

    @property
    def corpus(self) -> float:
        """The corpus perplexity: exp of the mean NLL over all tokens of all texts."""
        return float((self.nll.sum() / self.tokens.sum()).exp())


def tokenize(model: LoadedModel, texts: Sequence[str]) -> TokenizedTexts:
    """Tokenise texts without special tokens, cut at the model's last position.

    Raises `DataError` for a text with fewer than two tokens.
    """
    rows = [token_ids(model, text) for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if len(row) < 2:
            raise DataError(f"the perplexity text {text!r} has fewer than two tokens; leave it out")
    return in_batches(model, rows)


def token_ids(model: LoadedModel, text: str) -> list[int]:
    """A text's tokens without special ones, cut at the model's last position."""
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids[: model.max_positions]


def in_batches(model: LoadedModel, rows: Sequence[Sequence[int]]) -> TokenizedTexts:
    """Texts given as tokens, in batches of similar length."""
    batches = bucket_by_length([len(row) for row in rows], tokens_per_pass(model))
    return TokenizedTexts(
        tuple(pad_rows([rows[i] for i in b], model.pad_id, "right", model.device) for b in batches),
        tuple(i for batch in batches for i in batch),
    )


@dataclass(frozen=True)
class Unedited:
    """The unedited model's perplexity over some texts, and its predictions in each batch of them.

    A batch's predictions are in the order of its rows, and in a row in that of its tokens.
    """

    perplexity: Perplexity
    predictions: tuple[Likeliest, ...]


def measure_unedited(model: LoadedModel, spec: PerplexitySpec) -> tuple[TokenizedTexts, Unedited]:
    """The texts that a job names, and what the model makes of them before any edit.

    Raises `DataError` if it is not finite, since no edit can be judged then.
    """
    texts = tokenize(model, read_texts(spec.path, spec.texts))
    found = read_unedited(model, texts)
    if not math.isfinite(found.perplexity.mean):
        raise DataError(
            f"the unedited model {model.name!r} has a perplexity of {found.perplexity.mean} on "
            f"{spec.path}, so no edit of it can be judged; check its weights and dtype"
        )
    return texts, found


def measure(model: LoadedModel, texts: TokenizedTexts) -> Perplexity:
    """The model's perplexity over the texts, in their order in the file."""
    return _whole_passes(model, texts, _nothing)[0]


def read_unedited(model: LoadedModel, texts: TokenizedTexts) -> Unedited:
    """The model's perplexity over the texts, with its predictions."""
    perplexity, predictions = _whole_passes(model, texts, lambda _, logs: Likeliest.of(logs))
    return Unedited(perplexity, tuple(Likeliest.joined(batch) for batch in predictions))


@torch.no_grad()
def _whole_passes(
    model: LoadedModel, texts: TokenizedTexts, see: _See[SeenT]
) -> tuple[Perplexity, list[list[SeenT]]]:
    """The perplexity in whole passes of the model, and what `see` returned in each batch."""
    parts, seen = [], []
    for batch in texts.batches:

        def read(some: Sequence[int], batch: PaddedRows = batch) -> tuple[_Part, list[SeenT]]:
            rows = batch.rows(torch.tensor(some, device=model.device))
            with model.frozen.arithmetic():
                hidden = model.frozen.model.base_model(
                    input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
                ).last_hidden_state
            return _nll(model.frozen, rows, hidden, see)

        found = [each for _, each in in_halves(read, range(len(batch.ids)))]
        parts += [part for part, _ in found]
        seen.append([each for _, some in found for each in some])
    return _joined(parts, texts), seen


@dataclass(frozen=True)
class EditedPerplexity:
    """The perplexity of edited models over the same texts, many in one pass.

    With the unedited model's predictions in each batch, their disturbance is measured too.
    The unedited model's activations are computed once and kept: for each token and each block at
    which edits begin, `d_model` numbers, plus `d_key` if they begin at its down-projection.
    """

    model: LoadedModel
    texts: TokenizedTexts
    predictions: tuple[Likeliest, ...] | None = None
    _kept: dict[tuple[int, StartPoint], list[Activations]] = field(default_factory=dict)

    @torch.no_grad()
    def of(self, changes: Sequence[Change]) -> list[Perplexity]:
        """One perplexity for each edit; afterwards the weights are bit by bit as before."""
        found: dict[int, Perplexity] = {}
        for group in edited_models(self.model, changes):
            found |= zip(group.members, self._of_group(group), strict=True)
        return [found[i] for i in range(len(changes))]

    @torch.no_grad()
    def now(self, first: int) -> Perplexity:
        """The perplexity with the weights as they are now; no block before `first` may ever change.

        The output of those blocks is kept from one call to the next.
        """
        start = StartPoint(first - 1)
        as_it_is = Applied(self.model.frozen, (0,), start, self.model, Delta({}))
        return self._of_group(as_it_is)[0]

    def _of_group(self, group: EditedModels) -> list[Perplexity]:
        count = len(group.members)
        parts: list[list[_Part]] = [[] for _ in range(count)]
        moved: list[list[Disturbance]] = [[] for _ in range(count)]
        activations = self._activations(group)
        predictions = self.predictions or (None,) * len(activations)
        with group.in_place():
            for rows, before, likeliest in zip(
                self.texts.batches, activations, predictions, strict=True
            ):
                together = max(1, tokens_per_pass(self.model) // rows.ids.numel())
                for first in range(0, count, together):
                    edits = range(first, min(first + together, count))
                    found = _Batch(group, rows, before, likeliest).under(edits)
                    for i, (part, disturbance) in zip(edits, found, strict=True):
                        parts[i].append(part)
                        moved[i] += disturbance
        return [
            _joined(part, self.texts, Disturbance.joined(each) if each else None)
            for part, each in zip(parts, moved, strict=True)
        ]

    def _activations(self, group: EditedModels) -> list[Activations]:
        key = id(group.reader.model), group.start
        if key not in self._kept:
            self._kept[key] = [_record(group, rows) for rows in self.texts.batches]
        return self._kept[key]


_Part = tuple[Float64[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, " row"]]


def _nothing(_: slice, __: Tensor) -> None:
    """See nothing."""


def _record(group: EditedModels, batch: PaddedRows) -> Activations:
    model, start = group.reader, group.start

    def run(some: Sequence[int]) -> Activations:
        rows = batch.rows(torch.tensor(some, device=model.device))
        with model.arithmetic(), recording_activations(model, start, stop=True) as found:
            if start.layer >= 0:
                model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
        return found

    return Activations.joined([found for _, found in in_halves(run, range(len(batch.ids)))])


@dataclass(frozen=True)
class _Batch:
    """One batch of texts, with the unedited model's activations and predictions."""

    group: EditedModels
    rows: PaddedRows
    before: Activations
    likeliest: Likeliest | None

    def under(self, edits: range) -> list[tuple[_Part, list[Disturbance]]]:
        """What some consecutive edits make of it."""
        height = len(self.rows.ids)
        pairs = [(edit, row) for edit in edits for row in range(height)]
        found = [each for _, each in in_halves(self._read, pairs)]
        columns = (
            torch.cat(column).split(height) for column in zip(*(p for p, _ in found), strict=True)
        )
        parts = list(zip(*columns, strict=True))
        seen = [each for _, some in found for each in some if each is not None]
        if not seen:
            return [(part, []) for part in parts]
        moved = Disturbance.joined(seen).split(len(edits))
        return [(part, [each]) for part, each in zip(parts, moved, strict=True)]

    def _read(self, some: Sequence[tuple[int, int]]) -> tuple[_Part, list[Disturbance | None]]:
        model = self.group.reader
        edit, index = torch.tensor(some, device=model.device).T
        rows = self.rows.rows(index)
        hidden = self.group.hidden(rows, self.before.rows(index), edit)
        if self.likeliest is None:
            return _nll(model, rows, hidden, _nothing)
        before = self.likeliest.at(self._tokens(index))
        return _nll(model, rows, hidden, lambda at, logs: Disturbance.between(before.at(at), logs))

    def _tokens(self, index: Int[Tensor, " chosen"]) -> Int[Tensor, " token"]:
        """The places of the rows' predicted tokens among those of the batch."""
        predicted = self.rows.mask[:, 1:].bool()
        places = predicted.flatten().cumsum(0).view_as(predicted) - 1
        return places[index][predicted[index]]


def _joined(
    parts: Sequence[_Part], texts: TokenizedTexts, disturbance: Disturbance | None = None
) -> Perplexity:
    back = torch.tensor(texts.order).argsort()
    nll, tokens, nonfinite = (torch.cat(part)[back] for part in zip(*parts, strict=True))
    return Perplexity(nll, tokens, nonfinite, disturbance)


def _nll(
    model: LoadedModel,
    rows: PaddedRows,
    hidden: Float[Tensor, "row position d_last"],
    see: _See[SeenT],
) -> tuple[_Part, list[SeenT]]:
    """Per row: the sum of NLLs, the number of predicted tokens, and of non-finite ones.

    With them what `see` returned, some tokens at a time.
    """
    predicted = rows.mask[:, 1:].bool()
    states, targets = hidden[:, :-1][predicted], rows.ids[:, 1:][predicted]
    chunk = rows_of_logits(model)

    def score(at: slice) -> tuple[Tensor, SeenT]:
        """The NLLs of some tokens; the scores of the whole vocabulary are gone when it returns."""
        logs = log_softmax(model.parts.logits(states[at]).float(), dim=-1)
        return -logs.gather(1, targets[at, None])[:, 0], see(at, logs)

    with model.arithmetic():
        scored = [score(slice(first, first + chunk)) for first in range(0, len(states), chunk)]
    seen = [each for _, each in scored]
    nll = torch.cat([each for each, _ in scored])
    bad = ~nll.isfinite()
    row = torch.arange(len(rows.ids), device=nll.device)[:, None].expand_as(predicted)[predicted]
    zeros = torch.zeros(len(rows.ids), dtype=torch.float64, device=nll.device)
    total = zeros.index_add(0, row, nll.double().masked_fill(bad, torch.inf))
    nonfinite = zeros.index_add(0, row, bad.double()).long()
    return (total.cpu(), predicted.sum(1).cpu(), nonfinite.cpu()), seen
