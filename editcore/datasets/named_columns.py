"""Requests from the columns that a user names, of a table or of JSON objects."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from editcore.config.columns import ColumnNames
from editcore.config.messages import nearest
from editcore.datasets.formats.fields import Record, record_id, text, texts
from editcore.datasets.formats.questions import located
from editcore.errors import DataError
from editcore.requests import SLOT, EditRequest, Probe

NAME = "named columns"
"""What the report on a file calls its format if the columns were named."""


def require_columns(columns: ColumnNames, known: Collection[str]) -> None:
    """Raise `DataError` for a column that is not among the file's."""
    for part, names in columns:
        for name in (names,) if isinstance(names, str) else names or ():
            if name not in known:
                raise DataError(
                    f"there is no column {name!r}, which is to contain {part}; name another. "
                    f"{nearest(name, known)}"
                )


def numbered(columns: ColumnNames, record: Record) -> Record:
    """The record with its number under `case_id`."""
    column = columns.case_id
    return {**record, "case_id": record[column]} if column and column in record else record


def request_of(columns: ColumnNames, record: Record, index: int) -> EditRequest:
    """The request in the named columns of a record, numbered as `numbered` does.

    The kind of a consequence is its column's name if there are several.
    """
    if columns.case_id is not None:
        record[columns.case_id]
    prompt, subject = text(record, columns.prompt), _text(record, columns.subject)
    if SLOT not in prompt:
        prompt, subject = located(prompt, subject)
    several = len(columns.consequences) > 1
    target = text(record, columns.target_new).strip()
    names = (name.strip() for name in _all_texts(record, columns.aliases))
    return EditRequest(
        case_id=record_id(record, index),
        prompt=prompt,
        subject=subject,
        target_new=target,
        target_true=_text(record, columns.target_true).strip(),
        relation=_text(record, columns.relation),
        paraphrases=tuple(_all_texts(record, columns.paraphrases)),
        neighbours=tuple(_probes(record, columns.neighbours, columns.neighbour_answers)),
        aliases=tuple(dict.fromkeys(name for name in names if name not in ("", target))),
        consequences=tuple(
            replace(probe, kind=column if several else "")
            for column, answer in zip(
                columns.consequences, columns.consequence_answers, strict=True
            )
            for probe in _probes(record, [column], [answer])
        ),
        question=_text(record, columns.question),
    )


def _text(record: Record, column: str | None) -> str:
    """The text in a column that a record may lack."""
    return text(record, column) if column and record.get(column) is not None else ""


def _all_texts(record: Record, columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        yield from texts(record.get(column))


def _probes(record: Record, prompts: Sequence[str], answers: Sequence[str]) -> Iterator[Probe]:
    """Each text of a column of prompts with the one of its column of answers."""
    for asked, given in zip(prompts, answers, strict=True):
        questions, found = texts(record.get(asked)), texts(record.get(given))
        if len(questions) != len(found):
            raise DataError(
                f"{len(questions)} prompts in {asked!r} but {len(found)} answers in {given!r}; "
                "each prompt needs its answer"
            )
        for question, answer in zip(questions, found, strict=True):
            yield Probe(question, answer.strip())
