"""Which columns of a user's own file contain the parts of a request."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from editcore.config.section import Section

Column = Annotated[str, StringConstraints(min_length=1)]


def _as_list(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


_NAME = {"type": "string", "minLength": 1}
Columns = Annotated[
    tuple[Column, ...],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [_NAME, {"type": "array", "items": _NAME}]}),
]


def _one(description: str) -> Any:
    """A part that is in one column, not written if there is none."""
    return Field(default=None, description=description, exclude_if=lambda name: name is None)


def _several(description: str) -> Any:
    """A part that is in a column or in several, not written if there are none."""
    return Field(default=(), description=description, exclude_if=lambda names: not names)


class ColumnNames(Section):
    """The file's columns, or fields of its JSON objects, by what they contain."""

    prompt: Column = Field(
        description="The prompt, with `{}` for the subject or with the subject written out."
    )
    target_new: Column = Field(description="The new object, which should follow the prompt.")
    subject: Column | None = _one("The subject, which is located in the prompt if it is there.")
    target_true: Column | None = _one("The object before the edit.")
    relation: Column | None = _one("The relation's name.")
    question: Column | None = _one("A question that asks for the fact as a person would.")
    case_id: Column | None = _one(
        "The case's number; by default `case_id`, or else the record's number."
    )
    aliases: Columns = _several("Other names of the new object.")
    paraphrases: Columns = _several("The prompt in other words.")
    neighbours: Columns = _several("Prompts about other facts, which must not change.")
    neighbour_answers: Columns = _several("Their answers, a column for each of `neighbours`.")
    consequences: Columns = _several("Prompts about facts that must follow from the edit.")
    consequence_answers: Columns = _several("Their answers, a column for each of `consequences`.")

    @model_validator(mode="after")
    def _prompts_have_answers(self) -> Self:
        for prompts, answers in (
            ("neighbours", "neighbour_answers"),
            ("consequences", "consequence_answers"),
        ):
            asked, given = len(getattr(self, prompts)), len(getattr(self, answers))
            if asked != given:
                raise ValueError(
                    f"{prompts} has {asked} columns and {answers} {given}; name an answer's column "
                    "for each column of prompts"
                )
        return self
