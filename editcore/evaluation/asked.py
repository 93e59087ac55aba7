"""What a model is asked freely about one edit: each question in each context, and right answers.

Yang et al. 2025 ("The Mirage of Model Editing"): no part of the answer is given to the model, and
it ends its answer itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from editcore.config.answers import AnswerContext, AnswersSection
from editcore.requests import SLOT, EditRequest, Turn


@dataclass(frozen=True)
class Asked:
    """A question in one context: `prompt` is what the model reads.

    `measure` is what it tests, `kind` the data set's name for such questions, `number` its place
    among those of its measure, from 0, and `accepted` are the right answers.
    """

    measure: str
    kind: str
    number: int
    context: AnswerContext
    prompt: str
    question: str
    accepted: tuple[str, ...]


def questions(
    request: EditRequest, choice: AnswersSection, chat: Turn | None = None
) -> Iterator[Asked]:
    """All questions on an edit, each in every context of the study.

    `chat` is the model's own; it must be there if `choice` names that context.
    """
    for context in choice.contexts:
        for measure, kind, number, question, accepted in _by_measure(request, context, choice):
            said = request.turn.said(question)
            prompt = _in_context(context, said, choice, chat)
            yield Asked(measure, kind, number, context, prompt, said, accepted)


_Question = tuple[str, str, int, str, tuple[str, ...]]


def _by_measure(
    request: EditRequest, context: AnswerContext, choice: AnswersSection
) -> Iterator[_Question]:
    new = (request.target_new, *request.aliases)
    # Alone, the fact is put as it was edited; elsewhere as a person would ask for it.
    fact = request.text if context == "bare" else request.question or request.text
    yield "efficacy", "", 0, fact, new
    most = choice.prompts
    for number, text in enumerate(request.paraphrases[:most]):
        yield "generalization", "", number, text, new
    tests = {"portability": request.consequences, "locality": request.neighbours}
    for measure, probes in tests.items():
        for number, probe in enumerate(probes[:most]):
            accepted = (probe.target, *probe.aliases)
            yield measure, probe.kind, number, probe.prompt, accepted


def _in_context(
    context: AnswerContext, question: str, choice: AnswersSection, chat: Turn | None
) -> str:
    if context == "instruction":
        return choice.instruction.replace(SLOT, question)
    if context == "bare":
        return question
    assert chat is not None
    return chat.of(question)
