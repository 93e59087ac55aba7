"""Edits tried in sequence, in a model's own weights: each stays, or is reverted bit by bit."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from editcore.editing.editor import EditResult
from editcore.errors import in_one_line
from editcore.evaluation.effect import HALF
from editcore.evaluation.metrics import MetricInput, number
from editcore.evaluation.metrics.posed import Posed
from editcore.evaluation.teacher_forcing import (
    Answers,
    CaseQuestions,
    Question,
    TokenizedQuestions,
    ask,
    ask_all,
    tokenize_questions,
)
from editcore.requests import OK, EditRequest
from editcore.runs.edit import Shard
from editcore.updates.cumulative_delta import CumulativeDelta
from editcore.updates.delta import Delta

Row = dict[str, Any]


@dataclass(frozen=True)
class _Fact:
    """A fact's questions, those on the edited prompt itself, and the unedited model's answers."""

    posed: Posed
    rewrites: TokenizedQuestions
    before: Answers

    @property
    def questions(self) -> CaseQuestions:
        """What its questions are for."""
        return self.posed.questions


class Trials:
    """The facts of a shard, edited in sequence in the weights that `changes` keeps."""

    def __init__(self, shard: Shard, changes: CumulativeDelta) -> None:
        """Ask about every fact now, while the model is unedited."""
        self._shard, self._changes = shard, changes
        self._facts = {r.case_id: _asked(shard, r) for r in shard.requests}
        self._taken: dict[int, bool] = {}
        self._state = shard.session.editor.start(shard.session.context)

    def attempt(
        self, request: EditRequest, objection: Callable[[Row], str]
    ) -> tuple[Row, Delta | None]:
        """The row of one more edit, and its weight change if it stays.

        It stays unless it cannot be made or measured, or `objection` returns a reason against its
        row; then weights and state are as before, and the row's status is the reason.
        """
        row, fact = self._identity(request), self._facts[request.case_id]
        if isinstance(fact, str):
            return row | {"status": fact}, None
        result = self._shard.session.edit([request], self._state)
        row["status"] = result.status
        if result.delta is None or result.status != OK:
            return row, None
        take_out = self._changes.try_out(result.delta)
        row |= self._measured(fact, result)
        if row["status"] == OK:
            row["status"] = objection(row) or OK
        if row["status"] != OK:
            take_out()
            return row, None
        self._state = result.state
        self._taken[request.case_id] = False
        return row, result.delta

    def endangered(self) -> list[EditRequest]:
        """The facts of edits that stayed, which were given before the last one and no longer are.

        All of them are asked in one pass. A fact is given if at least half of the new object's
        tokens are predicted, after the bare prompt or on average after the prefixes. To be called
        after every edit that stays.
        """
        kept = [fact for case in self._taken if isinstance(fact := self._facts[case], _Fact)]
        answers = ask_all(self._shard.rows.model, [fact.rewrites for fact in kept])
        now = {
            fact.questions.request.case_id: _given(fact.questions, found)
            for fact, found in zip(kept, answers, strict=True)
        }
        before, self._taken = self._taken, now
        facts = [fact.questions.request for fact in kept]
        return [r for r in facts if before[r.case_id] and not now[r.case_id]]

    def _identity(self, request: EditRequest) -> Row:
        job = self._shard.rows.job
        return {
            "model": job.model.name,
            "editor": job.editor.label,
            "case_id": request.case_id,
            "subject": request.subject,
            "prompt": request.turn.said(request.prompt),
            "target_new": request.target_new,
        }

    def _measured(self, fact: _Fact, result: EditResult) -> Row:
        """The measurements of the model as it is now; if they fail, `status` is the reason."""
        rows = self._shard.rows
        try:
            denominator = number("denominator", result.diagnostics.get("denominator"))
            after = ask(rows.model, fact.posed.tokens)
            given = MetricInput(fact.questions, fact.before, after, lambda: nullcontext(rows.model))
            scores = rows.scores(given, fact.posed.unasked)
            now = rows.edited.now(self._changes.first_block())
        except Exception as error:  # a third party's number or metric may be anything
            return {"status": in_one_line(error)}
        return {"denominator": denominator, **rows.perplexity_columns(now), **scores}


def _asked(shard: Shard, request: EditRequest) -> _Fact | str:
    """A fact with the model's answers, or the reason why it cannot be asked about it."""
    if request.flaw:
        return request.flaw
    try:
        posed = shard.rows.posed(request)
        rewrites = tokenize_questions(shard.rows.model, _rewrites(posed.questions))
        return _Fact(posed, rewrites, ask(shard.rows.model, posed.tokens))
    except Exception as error:  # whatever a fact's texts may cause
        return in_one_line(error)


def _rewrites(questions: CaseQuestions) -> list[Question]:
    """The edited prompt, bare and after prefixes, with the new object."""
    new = questions.request.target_new
    return questions.rewrite(new) + questions.rewrite(new, prefixed=True)


def _given(questions: CaseQuestions, answers: Answers) -> bool:
    """Whether a model that gave these answers gives the new object."""
    new = questions.request.target_new
    ways = (questions.rewrite(new), questions.rewrite(new, prefixed=True))
    return any(fmean(answers[asked].accuracy for asked in way) >= HALF for way in ways)
