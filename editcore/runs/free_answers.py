"""The free answers of edited models, a row for each question."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from editcore.config.answers import AnswersSection
from editcore.errors import in_one_line
from editcore.evaluation.asked import Asked, questions
from editcore.evaluation.generation import Generated, edited_answers, unedited_answers
from editcore.evaluation.qa_overlap import contains, exact_match, f1
from editcore.models.chat import turn_of
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import EditJob
from editcore.requests import EditRequest, Turn
from editcore.runs.edit_rows import Row
from editcore.updates.change import Change

SCORES = {"exact_match": exact_match, "f1": f1, "contains": contains}


@dataclass(frozen=True)
class FreeAnswers:
    """Asks edited models of one job, many edits together; `chat` is the model's template."""

    job: EditJob
    choice: AnswersSection
    model: LoadedModel
    chat: Turn | None

    @classmethod
    def of_job(cls, job: EditJob, model: LoadedModel) -> "FreeAnswers | None":
        """What asks the edited models of a job; None if it asks for no answers.

        Raises `ModelError` if they are to be asked in a chat, and the model has no template.
        """
        if (choice := job.answers) is None:
            return None
        chat = turn_of(model.name, model.tokenizer) if "chat" in choice.contexts else None
        return cls(job, choice, model, chat)

    def asks(self, request: EditRequest) -> bool:
        """Whether the model with this edit is asked."""
        return self.job.asked is None or request.case_id in self.job.asked

    def of(self, edits: Sequence[tuple[EditRequest, Change]]) -> list[list[Row] | str]:
        """The rows of each edit, or why its model cannot be asked.

        If asking all together raises an error, each edit is asked alone, so that only the faulty
        one fails.
        """
        try:
            return list(self._rows(edits))
        except Exception:  # whatever one edit's texts or numbers may cause
            return [self._alone(edit) for edit in edits]

    def _alone(self, edit: tuple[EditRequest, Change]) -> list[Row] | str:
        try:
            return self._rows([edit])[0]
        except Exception as error:  # the same, or anything that a patch may raise
            return f"free answers: {in_one_line(error)}"

    def _rows(self, edits: Sequence[tuple[EditRequest, Change]]) -> list[list[Row]]:
        asked = [list(questions(request, self.choice, self.chat)) for request, _ in edits]
        prompts = [[question.prompt for question in own] for own in asked]
        tokens, stops = self.choice.tokens, self.choice.stops
        every = list(dict.fromkeys(prompt for own in prompts for prompt in own))
        before = dict(zip(every, unedited_answers(self.model, every, tokens, stops), strict=True))
        started = time.perf_counter()
        after = edited_answers(self.model, prompts, [c for _, c in edits], tokens, stops)
        seconds = (time.perf_counter() - started) / max(1, sum(map(len, prompts)))
        return [
            [
                self._row(request, question, before[question.prompt], answer) | {"seconds": seconds}
                for question, answer in zip(own, answers, strict=True)
            ]
            for (request, _), own, answers in zip(edits, asked, after, strict=True)
        ]

    def _row(self, request: EditRequest, asked: Asked, before: Generated, after: Generated) -> Row:
        base, answer = before.text.strip(), after.text.strip()
        scores = {
            f"{name}{ending}": score(text, asked.accepted)
            for name, score in SCORES.items()
            for ending, text in (("_base", base), ("", answer))
        }
        return {
            "model": self.job.model.name,
            "editor": self.job.editor.label,
            "dataset": self.job.dataset.name,
            "case_id": request.case_id,
            "measure": asked.measure,
            "context": asked.context,
            "number": asked.number,
            "kind": asked.kind or None,
            "prompt": asked.prompt,
            "question": asked.question,
            "accepted": list(asked.accepted),
            "answer_base": base,
            "answer": answer,
            "unchanged": base == answer,
            **scores,
        }
