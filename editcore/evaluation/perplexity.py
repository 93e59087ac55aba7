"""Perplexity as the papers measure it, over texts tokenised once and bucketed by length.

No start token; a text's perplexity is exp of the mean NLL of its tokens after the first; the
perplexity of several texts is their arithmetic mean ("The Butterfly Effect of Model Editing", §3).
The sums are kept too, for other means. A token whose NLL is not finite is counted, and makes its
text's perplexity infinite.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from editcore.datasets.readers import read_texts
from editcore.errors import DataError
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


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as batches of rows of similar length; `order[i]` is the place of row i in the file."""

    batches: tuple[PaddedRows, ...]
    order: tuple[int, ...]


@dataclass(frozen=True)
class Perplexity:
    """Per text: the sum of NLLs in nats, the number of predicted tokens, and of non-finite ones."""

    nll: Float64[Tensor, " text"]
    tokens: Int[Tensor, " text"]
    nonfinite: Int[Tensor, " text"]

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
    rows = [
        model.tokenizer(text, add_special_tokens=False)["input_ids"][: model.max_positions]
        for text in texts
    ]
    for text, row in zip(texts, rows, strict=True):
        if len(row) < 2:
            raise DataError(f"the perplexity text {text!r} has fewer than two tokens; leave it out")
    batches = bucket_by_length([len(row) for row in rows], tokens_per_pass(model))
    return TokenizedTexts(
        tuple(pad_rows([rows[i] for i in b], model.pad_id, "right", model.device) for b in batches),
        tuple(i for batch in batches for i in batch),
    )


def measure_unedited(model: LoadedModel, spec: PerplexitySpec) -> tuple[TokenizedTexts, Perplexity]:
    """The texts that a job names, and the model's perplexity on them before any edit.

    Raises `DataError` if it is not finite, since no edit can be judged then.
    """
    texts = tokenize(model, read_texts(spec.path, spec.texts))
    found = measure(model, texts)
    if not math.isfinite(found.mean):
        raise DataError(
            f"the unedited model {model.name!r} has a perplexity of {found.mean} on "
            f"{spec.path}, so no edit of it can be judged; check its weights and dtype"
        )
    return texts, found


@torch.no_grad()
def measure(model: LoadedModel, texts: TokenizedTexts) -> Perplexity:
    """The model's perplexity over the texts, in their order in the file."""
    parts = []
    for batch in texts.batches:

        def read(some: Sequence[int], batch: PaddedRows = batch) -> _Part:
            rows = batch.rows(torch.tensor(some, device=model.device))
            with model.frozen.arithmetic():
                hidden = model.frozen.model.base_model(
                    input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
                ).last_hidden_state
            return _nll(model.frozen, rows, hidden)

        parts += [part for _, part in in_halves(read, range(len(batch.ids)))]
    return _joined(parts, texts)


@dataclass(frozen=True)
class EditedPerplexity:
    """The perplexity of edited models over the same texts, many in one pass.

    The unedited model's activations are computed once and kept: for each token and each block at
    which edits begin, `d_model` numbers, plus `d_key` if they begin at its down-projection.
    """

    model: LoadedModel
    texts: TokenizedTexts
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
        activations = self._activations(group)
        with group.in_place():
            for rows, before in zip(self.texts.batches, activations, strict=True):
                together = max(1, tokens_per_pass(self.model) // rows.ids.numel())
                for first in range(0, count, together):
                    edits = range(first, min(first + together, count))
                    for i, part in zip(edits, _parts(group, rows, before, edits), strict=True):
                        parts[i].append(part)
        return [_joined(part, self.texts) for part in parts]

    def _activations(self, group: EditedModels) -> list[Activations]:
        key = id(group.reader.model), group.start
        if key not in self._kept:
            self._kept[key] = [_record(group, rows) for rows in self.texts.batches]
        return self._kept[key]


_Part = tuple[Float64[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, " row"]]


def _record(group: EditedModels, batch: PaddedRows) -> Activations:
    model, start = group.reader, group.start

    def run(some: Sequence[int]) -> Activations:
        rows = batch.rows(torch.tensor(some, device=model.device))
        with model.arithmetic(), recording_activations(model, start, stop=True) as found:
            if start.layer >= 0:
                model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
        return found

    return Activations.joined([found for _, found in in_halves(run, range(len(batch.ids)))])


def _parts(group: EditedModels, rows: PaddedRows, before: Activations, edits: range) -> list[_Part]:
    """One batch of texts under some consecutive edits."""
    height, model = len(rows.ids), group.reader

    def read(some: Sequence[tuple[int, int]]) -> _Part:
        edit, index = torch.tensor(some, device=model.device).T
        several = rows.rows(index)
        return _nll(model, several, group.hidden(several, before.rows(index), edit))

    pairs = [(edit, row) for edit in edits for row in range(height)]
    found = [part for _, part in in_halves(read, pairs)]
    columns = (torch.cat(column).split(height) for column in zip(*found, strict=True))
    return list(zip(*columns, strict=True))


def _joined(parts: Sequence[_Part], texts: TokenizedTexts) -> Perplexity:
    back = torch.tensor(texts.order).argsort()
    return Perplexity(*(torch.cat(part)[back] for part in zip(*parts, strict=True)))


def _nll(
    model: LoadedModel, rows: PaddedRows, hidden: Float[Tensor, "row position d_last"]
) -> _Part:
    """Per row: the sum of NLLs, the number of predicted tokens, and of non-finite ones."""
    predicted = rows.mask[:, 1:].bool()
    states, targets = hidden[:, :-1][predicted], rows.ids[:, 1:][predicted]
    chunk = rows_of_logits(model)
    with model.arithmetic():
        nll = torch.cat(
            [
                cross_entropy(model.parts.logits(some).float(), target, reduction="none")
                for some, target in zip(states.split(chunk), targets.split(chunk), strict=True)
            ]
        )
    bad = ~nll.isfinite()
    row = torch.arange(len(rows.ids), device=nll.device)[:, None].expand_as(predicted)[predicted]
    zeros = torch.zeros(len(rows.ids), dtype=torch.float64, device=nll.device)
    total = zeros.index_add(0, row, nll.double().masked_fill(bad, torch.inf))
    nonfinite = zeros.index_add(0, row, bad.double()).long()
    return total.cpu(), predicted.sum(1).cpu(), nonfinite.cpu()
