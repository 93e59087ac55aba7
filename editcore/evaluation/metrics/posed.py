"""The questions of a case: those of every study, and those that its metrics ask besides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from editcore.errors import in_one_line
from editcore.evaluation.metrics import NamedMetric
from editcore.evaluation.teacher_forcing import (
    CaseQuestions,
    TokenizedQuestions,
    tokenize_questions,
)
from editcore.models.loading import LoadedModel


@dataclass(frozen=True)
class Posed:
    """All questions of a case in tokens.

    `unasked` has the reason for each metric whose own questions cannot be asked, by its name.
    """

    questions: CaseQuestions
    tokens: TokenizedQuestions
    unasked: Mapping[str, str]

    @classmethod
    def to(
        cls, model: LoadedModel, questions: CaseQuestions, metrics: Sequence[NamedMetric]
    ) -> "Posed":
        """Those for a model; `RequestError` if it cannot take one that every study asks.

        If it cannot take one of a metric's own, the others are asked without that metric's.
        """
        parts = [tokenize_questions(model, questions.all())]
        unasked: dict[str, str] = {}
        for metric in metrics:
            try:
                own = metric.asking(questions) if metric.asking else ()
                parts.append(tokenize_questions(model, own))
            except Exception as error:  # a third party's function may raise anything
                unasked[metric.info.name] = f"metric {metric.info.name}: {in_one_line(error)}"
        return cls(questions, TokenizedQuestions.joined(parts), unasked)
