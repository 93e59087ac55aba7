"""How much of a sequence's edits, and of their neighbours, the current model retains."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from editcore.errors import RequestError, in_one_line
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
    """A fact's questions, and the unedited model's answers."""

    request: EditRequest
    questions: CaseQuestions
    tokens: TokenizedQuestions
    before: Answers


_Posed = tuple[CaseQuestions, TokenizedQuestions]
# The columns that `now` measures, in its order.
LEFT = ("efficacy_so_far", "efficacy_so_far_prefixed", "generalization_so_far", "locality")


@dataclass(frozen=True)
class Retained:
    """What a model retains: `columns` by name, and the efficacy of each fact by case.

    The columns are means and the numbers of facts that they are over, since a fact may have no
    paraphrases or no neighbours.
    """

    columns: Mapping[str, float | int | None]
    by_fact: Mapping[int, float | None]


@dataclass(frozen=True)
class Retention:
    """The facts of a sequence with the unedited model's answers, by case.

    `unfit` are those that the model cannot be asked about, each with the reason.
    """

    model: LoadedModel
    cases: Mapping[int, _Case]
    unfit: Mapping[int, str]

    @classmethod
    def before(
        cls, model: LoadedModel, requests: Sequence[EditRequest], prefixes: Mapping[int, str]
    ) -> "Retention":
        """Ask the unedited model; `prefixes` are the templates of the prefixed tests, by case.

        There is one for each: means over facts need no more, and all facts are asked repeatedly.
        """
        posed: list[_Posed] = []
        unfit: dict[int, str] = {}
        for request in requests:
            questions = CaseQuestions(request, prefixes.get(request.case_id, SLOT))
            try:
                posed.append(_posed(model, questions))
            except Exception as error:  # a third party's tokenizer may raise anything
                unfit[request.case_id] = in_one_line(error)
        answers = _answers(model, posed)
        cases: dict[int, _Case] = {}
        for (questions, tokens), known in zip(posed, answers, strict=True):
            request = questions.request
            if isinstance(known, str):
                unfit[request.case_id] = known
            else:
                cases[request.case_id] = _Case(request, questions, tokens, known)
        return cls(model, cases, unfit)

    def now(self, edited: Collection[int], patch: Patch | None = None) -> Retained:
        """Efficacy, generalization and locality as in `metrics.accuracy`, each a mean over facts.

        Only the cases in `edited` count, none of them unfit. Neighbours that were themselves edited
        are left out. With a `patch`, the model is asked under it.
        """
        cases = [self.cases[case_id] for case_id in edited]
        if not cases:
            return Retained({f"{name}_n": 0 for name in LEFT}, {})
        with patch.applied(self.model.frozen.model) if patch else nullcontext():
            answers = ask_all(self.model, [case.tokens for case in cases])
        pairs = list(zip(cases, answers, strict=True))
        named = [case.request for case in cases if case.request.names_subject]
        subjects = {(request.relation, request.subject) for request in named}
        columns = (
            [_efficacy(case, now) for case, now in pairs],
            [_efficacy(case, now, prefixed=True) for case, now in pairs],
            [_generalization(case, now) for case, now in pairs],
            [_locality(case, now, subjects) for case, now in pairs],
        )
        found: dict[str, float | int | None] = {}
        for name, values in zip(LEFT, columns, strict=True):
            known = [value for value in values if value is not None]
            found |= {name: mean_or_none(known), f"{name}_n": len(known)}
        return Retained(found, dict(zip(edited, columns[0], strict=True)))


def _posed(model: LoadedModel, questions: CaseQuestions) -> _Posed:
    if flaw := questions.request.flaw:
        raise RequestError(flaw)
    return questions, tokenize_questions(model, _asked(questions))


def _answers(model: LoadedModel, posed: Sequence[_Posed]) -> Sequence[Answers | str]:
    """Each case's answers, or why there are none; if they fail together, each is asked alone."""
    try:
        return ask_all(model, [tokens for _, tokens in posed]) if posed else []
    except Exception as error:  # a third party's model may raise anything
        if len(posed) == 1:
            return [in_one_line(error)]
        return [found for each in posed for found in _answers(model, [each])]


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
            if not any(subject in case.request.turn.said(q.prompt) for subject in mine)
        ]
    )
