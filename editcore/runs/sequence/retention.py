"""What is left of a sequence's edits, and of the facts around them, in the model as it is now."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from editcore.errors import RequestError
from editcore.evaluation.metrics import mean_or_none
from editcore.evaluation.teacher_forcing import (
    Answers,
    CaseQuestions,
    Question,
    TokenizedQuestions,
    ask_all,
    tokenize_questions,
)
from editcore.models.loading import LoadedModel
from editcore.requests import SLOT, EditRequest
from editcore.updates.patch import Patch


@dataclass(frozen=True)
class _Case:
    """A fact's questions, and what the unedited model answered."""

    request: EditRequest
    questions: CaseQuestions
    tokens: TokenizedQuestions
    before: Answers


@dataclass(frozen=True)
class Retention:
    """The facts of a sequence as the unedited model knew their neighbours, by case."""

    model: LoadedModel
    cases: Mapping[int, _Case]

    @classmethod
    def before(
        cls, model: LoadedModel, requests: Sequence[EditRequest], prefixes: Mapping[int, str]
    ) -> "Retention":
        """Ask the unedited model; facts whose prompts it cannot take are left out.

        `prefixes` are, by case, the templates of the prefixed tests.
        """
        posed: list[tuple[EditRequest, CaseQuestions, TokenizedQuestions]] = []
        for request in requests:
            questions = CaseQuestions(request, prefixes.get(request.case_id, SLOT))
            try:
                posed.append((request, questions, tokenize_questions(model, _asked(questions))))
            except RequestError:
                continue
        answers = ask_all(model, [tokens for _, _, tokens in posed]) if posed else []
        cases = (_Case(*each, known) for each, known in zip(posed, answers, strict=True))
        return cls(model, {case.request.case_id: case for case in cases})

    def now(self, edited: Collection[int], patch: Patch | None = None) -> dict[str, float | None]:
        """Efficacy, generalization and locality as in `metrics.accuracy`, each a mean over facts.

        Only the facts in `edited` count. A neighbour that was itself edited is none any more. With
        a `patch`, the model answers under it.
        """
        cases = [self.cases[case_id] for case_id in edited if case_id in self.cases]
        if not cases:
            return {}
        with patch.applied(self.model.frozen.model) if patch else nullcontext():
            answers = ask_all(self.model, [case.tokens for case in cases])
        pairs = list(zip(cases, answers, strict=True))
        subjects = {(case.request.relation, case.request.subject) for case in cases}
        columns = {
            "efficacy_so_far": [_efficacy(case, now) for case, now in pairs],
            "efficacy_so_far_prefixed": [
                _efficacy(case, now, prefixed=True) for case, now in pairs
            ],
            "generalization_so_far": [_generalization(case, now) for case, now in pairs],
            "locality": [_locality(case, now, subjects) for case, now in pairs],
        }
        return {
            name: mean_or_none([value for value in values if value is not None])
            for name, values in columns.items()
        }


def _asked(questions: CaseQuestions) -> list[Question]:
    target = questions.request.target_new
    return [
        *questions.rewrite(target),
        *questions.rewrite(target, prefixed=True),
        *questions.paraphrases(target),
        *questions.neighbours(),
    ]


def _efficacy(case: _Case, now: Answers, *, prefixed: bool = False) -> float | None:
    asked = case.questions.rewrite(case.request.target_new, prefixed=prefixed)
    return mean_or_none([now[question].accuracy for question in asked])


def _generalization(case: _Case, now: Answers) -> float | None:
    return mean_or_none(
        [now[q].accuracy for q in case.questions.paraphrases(case.request.target_new)]
    )


def _locality(case: _Case, now: Answers, edited: Collection[tuple[str, str]]) -> float | None:
    mine = [subject for relation, subject in edited if relation == case.request.relation]
    return mean_or_none(
        [
            now[q].agreement(case.before[q])
            for q in case.questions.neighbours()
            if not any(subject in q.prompt for subject in mine)
        ]
    )
