"""What edited models are asked freely: in which contexts, and what ends an answer."""

from typing import Literal

from pydantic import Field, field_validator

from editcore.config.section import Positive, Section
from editcore.requests import SLOT

AnswerContext = Literal["bare", "instruction", "chat"]
INSTRUCTION = f"Please answer the question:\n\nQ: {SLOT}\nA:"


class AnswersSection(Section):
    """Free generation from each edited model; the defaults are those of Yang et al. 2025."""

    contexts: tuple[AnswerContext, ...] = Field(
        default=("bare", "instruction"),
        min_length=1,
        description="How each question is put: `bare`, as the data set has it; `instruction`, "
        "within the words of `instruction`; `chat`, in the model's own chat template.",
    )
    instruction: str = Field(
        default=INSTRUCTION,
        description="The words around a question, with `{}` in its place.",
    )
    tokens: Positive = Field(default=50, description="The most tokens of an answer.")
    stops: tuple[str, ...] = Field(
        default=(".", "\n"),
        description="Texts that end an answer, besides the model's end of text.",
    )
    cases: Positive | None = Field(
        default=None,
        description="The edited models that are asked, of each editor and data set, spread evenly "
        "over its cases; by default all.",
    )
    prompts: Positive | None = Field(
        default=None,
        description="The most paraphrases, consequences and neighbours of each case, of each the "
        "first; by default all.",
    )

    @field_validator("instruction")
    @classmethod
    def _has_one_slot(cls, text: str) -> str:
        if text.count(SLOT) != 1:
            raise ValueError("it needs one `{}`, where the question belongs")
        return text

    @field_validator("contexts")
    @classmethod
    def _each_once(cls, contexts: tuple[AnswerContext, ...]) -> tuple[AnswerContext, ...]:
        if len({*contexts}) < len(contexts):
            raise ValueError("a context is listed twice; list each once")
        return contexts
