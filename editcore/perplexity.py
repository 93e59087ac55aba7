"""Perplexity as the papers measure it, over texts tokenised once and bucketed by length.

No start token; a text's perplexity is exp of the mean NLL of its tokens after the first; the
corpus's is the arithmetic mean over texts ("The Butterfly Effect of Model Editing", §3). The sums
stand beside it, so that any other mean can be had. Tokens whose logits are not finite are counted,
and make their text's perplexity infinite.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from editcore import trace
from editcore.errors import DataError
from editcore.models import LoadedModel
from editcore.tokens import PaddedRows, pad

BATCH_TOKENS = 2048


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as batches of rows of similar length; `order[i]` is the place of row i in the file."""

    batches: tuple[PaddedRows, ...]
    order: tuple[int, ...]


@dataclass(frozen=True)
class Perplexity:
    """Per text: the sum of NLLs in nats, the number of predicted tokens, and of non-finite ones."""

    nll: torch.Tensor
    tokens: torch.Tensor
    nonfinite: torch.Tensor

    @property
    def per_text(self) -> torch.Tensor:
        """exp(mean NLL) of each text, float64; inf where a token was not finite."""
        return (self.nll / self.tokens).exp()

    @property
    def mean(self) -> float:
        """The papers' perplexity: the arithmetic mean over texts."""
        return float(self.per_text.mean())

    @property
    def corpus(self) -> float:
        """Exp of the mean NLL over all tokens of all texts."""
        return float((self.nll.sum() / self.tokens.sum()).exp())


def tokenize(model: LoadedModel, texts: Sequence[str]) -> TokenizedTexts:
    """Tokenise texts without special tokens; `DataError` for one of under two tokens."""
    rows = [
        model.tokenizer(text, add_special_tokens=False)["input_ids"][: model.max_positions]
        for text in texts
    ]
    for text, row in zip(texts, rows, strict=True):
        if len(row) < 2:
            raise DataError(f"the perplexity text {text!r} has fewer than two tokens; leave it out")
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    batches: list[list[list[int]]] = [[]]
    for i in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(rows[i]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(rows[i])
    padded = tuple(pad(batch, model.pad_id, "right", model.device) for batch in batches)
    return TokenizedTexts(padded, tuple(order))


@dataclass(frozen=True)
class UneditedStates:
    """The unedited model's states behind block `layer`, `[rows, length, d_model]` per batch.

    An edit of later blocks leaves them as they are, so that its measurement can resume from them.
    """

    layer: int
    batches: tuple[torch.Tensor | None, ...]


@torch.no_grad()
def states_behind(model: LoadedModel, layer: int, texts: TokenizedTexts) -> UneditedStates:
    """Run the blocks up to `layer`, -1 for none, over the texts."""
    found: list[torch.Tensor | None] = []
    for rows in texts.batches:
        if layer < 0:
            found.append(None)
            continue
        with trace.recording(model.layout.block(layer), stop=True) as seen:
            model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
        found.append(seen.output)
    return UneditedStates(layer, tuple(found))


@torch.no_grad()
def measure(
    model: LoadedModel, texts: TokenizedTexts, unedited: UneditedStates | None = None
) -> Perplexity:
    """The NLLs over the texts, in their order in the file; resumed where states are given."""
    parts = []
    for i, rows in enumerate(texts.batches):
        states = unedited.batches[i] if unedited else None
        if unedited is None or states is None:
            parts.append(_measure_batch(model, rows))
            continue
        with trace.resuming_behind(model.layout, unedited.layer, states):
            parts.append(_measure_batch(model, rows))
    back = torch.tensor(texts.order).argsort()
    return Perplexity(*(torch.cat(part)[back] for part in zip(*parts, strict=True)))


def _measure_batch(
    model: LoadedModel, rows: PaddedRows
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    hidden = model.model.base_model(
        input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
    ).last_hidden_state
    predicted = rows.mask[:, 1:].bool()
    logits = model.layout.logits(hidden[:, :-1][predicted]).float()
    nll = torch.nn.functional.cross_entropy(logits, rows.ids[:, 1:][predicted], reduction="none")
    bad = ~nll.isfinite()
    row = torch.arange(len(rows.ids), device=nll.device)[:, None].expand_as(predicted)[predicted]
    zeros = torch.zeros(len(rows.ids), dtype=torch.float64, device=nll.device)
    total = zeros.index_add(0, row, nll.double().masked_fill(bad, torch.inf))
    nonfinite = zeros.index_add(0, row, bad.double()).long()
    return total.cpu(), predicted.sum(1).cpu(), nonfinite.cpu()
