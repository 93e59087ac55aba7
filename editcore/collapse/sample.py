"""What an edit does to a sample of running text: the forecast from the update.

The edited model reads a few hundred tokens once, while the weights stay as they are. How many of
its likeliest next tokens change, and by how much perplexity rises, are the quantities that grades
are about; so their thresholds hold for models and editors that nobody calibrated on.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from editcore.datasets.readers import read_texts
from editcore.errors import DataError
from editcore.evaluation.perplexity import (
    EditedPerplexity,
    Perplexity,
    in_batches,
    read_unedited,
    token_ids,
)
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import PerplexitySpec
from editcore.updates.change import Change

TOKENS = 1024


@dataclass(frozen=True)
class SampleEffect:
    """What one edit does to the sample.

    `changed` is the share of tokens whose likeliest next token is another after the edit, `ratio`
    the edited model's perplexity as a multiple of the unedited one's; None if that is not finite.
    """

    changed: float
    ratio: float | None


@dataclass(frozen=True)
class Sample:
    """A sample of running text, and edited models' predictions on it."""

    unedited: Perplexity
    edited: EditedPerplexity

    @classmethod
    def of(cls, model: LoadedModel, spec: PerplexitySpec) -> "Sample":
        """About `TOKENS` tokens of the file's texts after those that perplexity is measured on.

        If there are no others, it is of the same texts.
        """
        texts = read_texts(spec.path)
        return cls.of_texts(model, texts[spec.texts :] or texts)

    @classmethod
    def of_texts(cls, model: LoadedModel, texts: Sequence[str]) -> "Sample":
        """About the first `TOKENS` tokens of some texts.

        Raises `DataError` if none of them has two tokens.
        """
        rows = list(_cut((token_ids(model, text) for text in texts), TOKENS))
        if not rows:
            raise DataError("no text of the sample has two tokens; give longer texts")
        tokens = in_batches(model, rows)
        found = read_unedited(model, tokens)
        return cls(found.perplexity, EditedPerplexity(model, tokens, found.predictions))

    def effects(self, changes: Sequence[Change]) -> list[SampleEffect]:
        """One for each edit of the unedited model."""
        base = self.unedited.mean
        return [
            SampleEffect(
                1 - found.disturbance.kept, found.mean / base if math.isfinite(base) else None
            )
            for found in self.edited.of(changes)
            if found.disturbance is not None
        ]


def _cut(rows: Iterator[list[int]], left: int) -> Iterator[list[int]]:
    """The first rows with `left` tokens, without rows of one token, which predict nothing."""
    for row in rows:
        if len(row) > 1:
            yield row[: max(2, left)]
            left -= len(row)
        if left <= 0:
            return
