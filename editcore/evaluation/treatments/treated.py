"""Edited models after a treatment, with the unedited model after the same one."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

from editcore.evaluation.overlay import Applied
from editcore.evaluation.perplexity import (
    EditedPerplexity,
    Perplexity,
    TokenizedTexts,
    Unedited,
    read_unedited,
)
from editcore.evaluation.teacher_forcing import (
    Answers,
    TokenizedQuestions,
    ask_all,
    ask_edited,
)
from editcore.evaluation.treatments.compression import Compression
from editcore.evaluation.treatments.fine_tuning import FineTuning
from editcore.models.loading import LoadedModel
from editcore.updates.delta import Delta


@dataclass(frozen=True)
class Outcome:
    """Answers and perplexity of the treated unedited model, and of the treated edited one.

    The disturbance in `edited` is by the edit alone: it compares the two treated models.
    """

    before: Answers
    after: Answers
    unedited: Perplexity
    edited: Perplexity


def compressed(
    model: LoadedModel,
    texts: TokenizedTexts,
    how: Compression | None,
    asked: Sequence[TokenizedQuestions],
    deltas: Sequence[Delta],
    *,
    beside: bool = False,
) -> list[Outcome]:
    """One outcome per edit, many in one pass; without a compression, that of untreated models.

    The edited model W + Δ becomes c(W + Δ) or, with `beside`, c(W) + Δ: the edit is kept beside the
    compressed model, as an adapter is.

    Afterwards the weights are bit by bit as before. Raises `ModelError` as `Compression` does.
    """
    treated: AbstractContextManager[None] = nullcontext()
    if how is not None:
        deltas, treated = deltas if beside else how.of_edits(model, deltas), how.applied(model)
    with treated:
        answers = ask_edited(model, asked, deltas)
        base = read_unedited(model, texts)
        edited = EditedPerplexity(model, texts, base.predictions).of(deltas)
    pairs = zip(answers, edited, strict=True)
    return [Outcome(*asked, base.perplexity, found) for asked, found in pairs]


@dataclass(frozen=True)
class FineTuned:
    """Fine-tuned models; the unedited one is fine-tuned once, and asked all questions, by case."""

    model: LoadedModel
    texts: TokenizedTexts
    how: FineTuning
    asked: Sequence[TokenizedQuestions]

    def outcome(self, case: int, delta: Delta) -> Outcome:
        """That of one edit, whose questions are those of `case`.

        The edited model itself is fine-tuned; afterwards its weights are bit by bit as before.
        Raises `ModelError` as `FineTuning` does.
        """
        before, base = self._unedited
        edited = EditedPerplexity(self.model, self.texts, base.predictions)
        with Applied.of(self.model, delta, 0).in_place(), self.how.applied(self.model):
            (after,) = ask_all(self.model, [self.asked[case]])
            return Outcome(before[case], after, base.perplexity, edited.now(0))

    @cached_property
    def _unedited(self) -> tuple[list[Answers], Unedited]:
        with self.how.applied(self.model):
            return ask_all(self.model, self.asked), read_unedited(self.model, self.texts)
