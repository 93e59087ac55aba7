"""Quantities of the model on running text: the edited layer's share, and what it generates."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.evaluation.generation import Answering
from editcore.evaluation.perplexity import TokenizedTexts
from editcore.models import hooks
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows

BEGINNINGS, BEGINNING, CONTINUATION = 8, 8, 40  # texts, and tokens read and generated of each
WEIGHTS = {2: 1 / 3, 3: 2 / 3}  # of bigrams and trigrams, in the proportion of Meng et al. 2022


@dataclass(frozen=True)
class Generation:
    """Continuations of the beginnings of some texts."""

    model: LoadedModel
    asked: Answering

    @classmethod
    def of(cls, model: LoadedModel, texts: TokenizedTexts) -> "Generation":
        """Continuations of the first texts of a file."""
        rows = [row for batch in texts.batches for row in _rows(batch)]
        in_order = [rows[i][:BEGINNING] for i in torch.tensor(texts.order).argsort().tolist()]
        return cls(model, Answering(model.frozen, in_order[:BEGINNINGS], [], CONTINUATION))

    def entropy(self) -> float:
        """The mean n-gram entropy of the continuations in bits; 0 for those without an n-gram."""
        texts = [answer.text for answer in self.asked.answers()]
        rows = [self.model.tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
        return sum(map(n_gram_entropy, rows)) / len(rows)


def n_gram_entropy(tokens: Sequence[int]) -> float:
    """The entropy of a text's bigrams and trigrams, in bits, weighted by `WEIGHTS`.

    >>> n_gram_entropy([1, 1, 1, 1]), round(n_gram_entropy([1, 2, 3, 4]), 3)
    (0.0, 1.195)
    """
    return sum(weight * _entropy(tokens, n) for n, weight in WEIGHTS.items())


def _entropy(tokens: Sequence[int], n: int) -> float:
    counts = Counter(zip(*(tokens[i:] for i in range(n)), strict=False)).values()
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts)


@torch.no_grad()
def residual_shares(
    model: LoadedModel, layers: Sequence[int], texts: Sequence[PaddedRows]
) -> dict[int, float]:
    """The mean over tokens of ‖MLP output‖ / ‖block output‖ at some layers, of the model as it is.

    One pass serves all layers; it ends at the last of them.
    """
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for rows in texts:
        for layer, shares in _shares(model.frozen, layers, rows).items():
            found[layer].append(shares)
    return {layer: float(torch.cat(shares).mean()) for layer, shares in found.items()}


def _shares(
    model: LoadedModel, layers: Sequence[int], rows: PaddedRows
) -> dict[int, Float[Tensor, " token"]]:
    parts, last = model.parts, max(layers)
    with model.arithmetic(), ExitStack() as stack:
        added = {n: stack.enter_context(hooks.recording(parts.mlp(n))) for n in layers}
        states = {
            n: stack.enter_context(hooks.recording(parts.block(n))) for n in layers if n != last
        }
        with hooks.recording(parts.block(last), stop=True) as states[last]:
            model.model.base_model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
    there, smallest = rows.mask.bool(), torch.finfo(torch.float32).tiny

    def sizes(found: hooks.Recorded) -> Float[Tensor, " token"]:
        assert found.output is not None
        lengths: Tensor = found.output[there].float().norm(dim=1)
        return lengths

    return {n: sizes(added[n]) / sizes(states[n]).clamp_min(smallest) for n in layers}


def _rows(batch: PaddedRows) -> list[tuple[int, ...]]:
    return [
        tuple(ids[there.bool()].tolist()) for ids, there in zip(batch.ids, batch.mask, strict=True)
    ]
