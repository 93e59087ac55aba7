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

import torch
from jaxtyping import Float, Float32, Float64, Int
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
from editcore.models.arithmetic.head import KnownLogits
from editcore.models.batch_size import (
    in_halves,
    rows_of_logits,
    states_held,
    tokens_per_pass,
)
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows, bucket_by_length, pad_rows
from editcore.planning.jobs import PerplexitySpec
from editcore.updates.change import Change
from editcore.updates.delta import Delta

# Called with the log-probabilities under some edits at some of the predicted tokens of a batch.
_See = Callable[[slice, slice, Float32[Tensor, "edit token vocabulary"]], None]


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
class Predictions:
    """What the unedited model predicts in a batch, by row, and in a row by token.

    `hidden` are the last hidden states of the model that reads for the edited ones, too.
    """

    likeliest: Likeliest
    hidden: Float[Tensor, "token d_last"]


@dataclass(frozen=True)
class Unedited:
    """The unedited model's perplexity over some texts, and its predictions in each batch."""

    perplexity: Perplexity
    predictions: tuple[Predictions, ...]


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
    return _joined([_whole(model, batch, _nothing)[0] for batch in texts.batches], texts)


def read_unedited(model: LoadedModel, texts: TokenizedTexts) -> Unedited:
    """The model's perplexity over the texts, with its predictions."""
    parts, predictions = [], []
    for batch in texts.batches:
        seen: list[Likeliest] = []
        part, hidden = _whole(model, batch, _keeping(seen))
        parts.append(part)
        predictions.append(Predictions(Likeliest.joined(seen), hidden))
    return Unedited(_joined(parts, texts), tuple(predictions))


@dataclass(frozen=True)
class EditedPerplexity:
    """The perplexity of edited models over the same texts, many in one pass.

    With the unedited model's predictions in each batch, their disturbance is measured too.
    The unedited model's activations are computed once and kept: for each token and each block at
    which edits begin, `d_model` numbers, plus `d_key` if they begin at its down-projection.
    """

    model: LoadedModel
    texts: TokenizedTexts
    predictions: tuple[Predictions, ...] | None = None
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
            for rows, before, unedited in zip(
                self.texts.batches, activations, predictions, strict=True
            ):
                batch = _Batch(group, rows, before, unedited)
                together = max(1, states_held(self.model) // rows.ids.numel())
                for first in range(0, count, together):
                    edits = range(first, min(first + together, count))
                    found, disturbances = batch.under(edits)
                    for i, part in zip(edits, found, strict=True):
                        parts[i].append(part)
                    for i, disturbance in zip(edits, disturbances, strict=False):
                        moved[i].append(disturbance)
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


def _nothing(_: slice, __: slice, ___: Tensor) -> None:
    """See nothing."""


def _keeping(likeliest: list[Likeliest]) -> _See:
    """See the likeliest tokens of a single model."""
    return lambda _, __, logs: likeliest.append(Likeliest.of(logs[0]))


@torch.no_grad()
def _whole(
    model: LoadedModel, batch: PaddedRows, see: _See
) -> tuple[_Part, Float[Tensor, "token d_last"]]:
    """The sums of a batch in a whole pass of the model, and its last hidden states."""
    reader = model.frozen

    def read(some: Sequence[int]) -> Tensor:
        rows = batch.rows(torch.tensor(some, device=model.device))
        read = rows.without_last()
        with reader.arithmetic():
            hidden: Tensor = reader.model.base_model(
                input_ids=read.ids, attention_mask=read.mask, use_cache=False
            ).last_hidden_state
        return hidden[rows.mask[:, 1:].bool()]

    states = torch.cat([found for _, found in in_halves(read, range(len(batch.ids)))])
    return _sums(batch, _nll(reader, batch, states[None], see))[0], states


def _record(group: EditedModels, batch: PaddedRows) -> Activations:
    model, start = group.reader, group.start

    def run(some: Sequence[int]) -> Activations:
        rows = batch.rows(torch.tensor(some, device=model.device)).without_last()
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
    unedited: Predictions | None

    def under(self, edits: range) -> tuple[list[_Part], list[Disturbance]]:
        """What some consecutive edits make of it; no disturbance without predictions."""
        model, near = self.group.reader, None
        moved: list[Disturbance] = []
        if self.unedited and self.group.keeps_head and model.parts.head_is_rounded:
            near = self.unedited.hidden
        see = _comparing(self.unedited.likeliest, moved) if self.unedited else _nothing
        nll = _nll(model, self.rows, self._states(edits), see, near)
        disturbances = Disturbance.joined(moved).split() if moved else []
        return _sums(self.rows, nll), disturbances

    def _states(self, edits: range) -> Float[Tensor, "edit token d_last"]:
        """The last hidden states at the predicted tokens."""
        height, length = self.rows.ids.shape
        pairs = [(edit, row) for edit in edits for row in range(height)]
        step = max(1, tokens_per_pass(self.group.reader) // length)
        passes = (pairs[first : first + step] for first in range(0, len(pairs), step))
        found = [states for some in passes for _, states in in_halves(self._read, some)]
        return torch.cat(found).view(len(edits), -1, found[0].shape[-1])

    def _read(self, some: Sequence[tuple[int, int]]) -> Float[Tensor, "token d_last"]:
        edit, index = torch.tensor(some, device=self.group.reader.device).T
        rows = self.rows.rows(index)
        hidden = self.group.hidden(rows.without_last(), self.before.rows(index), edit)
        states: Tensor = hidden[rows.mask[:, 1:].bool()]
        return states


def _comparing(before: Likeliest, moved: list[Disturbance]) -> _See:
    """Find the disturbance; its parts are complete in each slice of tokens."""

    def see(edits: slice, at: slice, logs: Tensor) -> None:
        found = Disturbance.between(before.at(at), logs)
        if edits.start == 0:
            moved.append(found)
        else:
            moved[-1] = moved[-1].with_edits(found)

    return see


def _joined(
    parts: Sequence[_Part], texts: TokenizedTexts, disturbance: Disturbance | None = None
) -> Perplexity:
    back = torch.tensor(texts.order).argsort()
    nll, tokens, nonfinite = (torch.cat(part)[back] for part in zip(*parts, strict=True))
    return Perplexity(nll, tokens, nonfinite, disturbance)


def _nll(
    model: LoadedModel,
    batch: PaddedRows,
    states: Float[Tensor, "edit token d_last"],
    see: _See,
    near: Float[Tensor, "token d_last"] | None = None,
) -> Float32[Tensor, "edit token"]:
    """The NLL of a batch's predicted tokens, some of them at a time, which `see` is shown.

    Their scores of the whole vocabulary are gone when it returns. With states `near` those of the
    edits, the logits are computed in float32 for these, once for all edits.
    """
    edits, tokens = states.shape[:2]
    targets = batch.ids[:, 1:][batch.mask[:, 1:].bool()]
    found = torch.empty(edits, tokens, device=states.device)
    step = math.ceil(tokens / math.ceil(tokens / rows_of_logits(model)))
    together = max(1, rows_of_logits(model) // step)
    with model.arithmetic():
        for at in _slices(tokens, step):
            logits = _logits(model, None if near is None else near[at])
            for some in _slices(edits, together):
                logs = log_softmax(logits(states[some, at]), dim=-1)
                chosen = targets[at, None].expand(len(logs), -1, -1)
                found[some, at] = -logs.gather(-1, chosen)[..., 0]
                see(some, at, logs)
                del logs
    return found


def _slices(count: int, step: int) -> list[slice]:
    return [slice(first, first + step) for first in range(0, count, step)]


def _logits(
    model: LoadedModel, near: Float[Tensor, "token d_last"] | None
) -> Callable[[Float[Tensor, "edit token d_last"]], Float32[Tensor, "edit token vocabulary"]]:
    """The model's logits, by those of states nearby if some are given."""
    parts = model.parts
    if near is None:
        return lambda states: parts.logits(states).float()
    known = KnownLogits(near, parts.logits(near).float())
    return lambda states: parts.logits_near(known, states)


def _sums(batch: PaddedRows, nll: Float32[Tensor, "edit token"]) -> list[_Part]:
    """Per edit and row: the sum of NLLs, the number of predicted tokens, and of non-finite ones."""
    predicted = batch.mask[:, 1:].bool()
    height = torch.arange(len(batch.ids), device=nll.device)
    row, bad = height[:, None].expand_as(predicted)[predicted], ~nll.isfinite()
    zeros = torch.zeros(len(nll), len(height), dtype=torch.float64, device=nll.device)
    total = zeros.index_add(1, row, nll.double().masked_fill(bad, torch.inf)).cpu()
    nonfinite = zeros.index_add(1, row, bad.double()).long().cpu()
    tokens = predicted.sum(1).cpu()
    return [(each, tokens, several) for each, several in zip(total, nonfinite, strict=True)]
