"""The fields of a record: texts, prompts with their subject, neighbours, and the case id."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from editcore.errors import DataError
from editcore.requests import SLOT, EditRequest, Probe

Record = Mapping[str, Any]
RecordParser = Callable[[Record, int], EditRequest | None]
"""Turns a record and its index in the file into a request, or None to skip the record.

An exception becomes the reason why the record cannot be edited; `KeyError` names a missing field.
"""
# Case ids are 64-bit numbers in the tables.
LARGEST = 2**63


def record_id(record: Record, index: int) -> int:
    """The record's own `case_id`, or its index in the file."""
    value = record.get("case_id", index)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"case_id is {type(value).__name__}, not a whole number")
    if not -LARGEST <= (number := int(value)) < LARGEST:
        raise ValueError(f"case_id has {len(str(value))} digits, which is too many")
    return number


def neighbours(
    record: Record, case_id: int, prompts: str, answers: str, *, default: str | None = None
) -> tuple[Probe, ...]:
    """The prompts of a field with the answers of another; without any, `default` answers each."""
    asked, given = texts(record.get(prompts)), texts(record.get(answers))
    if not given and default is not None:
        given = (default,) * len(asked)
    if len(asked) != len(given):
        raise DataError(
            f"case {case_id}: {len(asked)} {prompts} but {len(given)} {answers}; each prompt needs "
            "its answer"
        )
    return tuple(Probe(prompt, answer.strip()) for prompt, answer in zip(asked, given, strict=True))


def answered(prompt: str, answers: Iterable[str], kind: str = "") -> Iterator[Probe]:
    """The probe of a prompt whose first answer is expected and whose others are accepted.

    None if the prompt or every answer is blank, since nothing could be asked or compared.
    """
    names = tuple(dict.fromkeys(name for answer in answers if (name := answer.strip())))
    if prompt.strip() and names:
        yield Probe(prompt, names[0], names[1:], kind)


def paired(
    prompts: tuple[str, ...], answers: tuple[str, ...], what: str, kind: str = ""
) -> tuple[Probe, ...]:
    """Each prompt with its answer; raises `DataError` if their numbers differ."""
    if len(prompts) != len(answers):
        raise DataError(
            f"{len(prompts)} {what} but {len(answers)} answers to them; each needs its answer"
        )
    pairs = zip(prompts, answers, strict=True)
    return tuple(probe for prompt, answer in pairs for probe in answered(prompt, [answer], kind))


def relation(record: Record) -> str:
    """The record's `relation_id`; empty without one."""
    return text(record, "relation_id") if record.get("relation_id") is not None else ""


def subject(record: Record) -> str:
    """The record's subject; empty if the field is missing or null, that is, the fact names none."""
    if record.get("subject") is None:
        return ""
    if not (found := text(record, "subject")):
        raise DataError("subject is empty; name it, or remove the field if the fact has no subject")
    return found


def with_slot(prompt: str, subject: str) -> str:
    """The prompt with `{}` in place of its subject, matched as a whole word if possible.

    A prompt without exactly one match is returned unchanged, and its request is flawed.

    >>> with_slot("The maker of Coral is", "Coral")
    'The maker of {} is'
    """
    if SLOT in prompt or not subject:
        return prompt
    places = {prompt.find(subject), prompt.rfind(subject)}
    if len(places) > 1:  # Not always: to compile a pattern for each of many records takes seconds.
        words = rf"(?<!\w){re.escape(subject)}(?!\w)"
        places = {match.start() for match in re.finditer(words, prompt)}
    if len(places) != 1 or -1 in places:
        return prompt
    (place,) = places
    return prompt[:place] + SLOT + prompt[place + len(subject) :]


def text(record: Record, field: str) -> str:
    """A field that has to be a string of valid characters."""
    value = record[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is {type(value).__name__}, not text")
    if not encodable(value):
        raise ValueError(f"{field} contains an unpaired surrogate")
    return value


def texts(value: object) -> tuple[str, ...]:
    """None, a string or a list of strings, as a tuple."""
    if value is None or value == "":
        return ()
    if not isinstance(value, str | list):
        raise TypeError(f"text or a list of texts is needed instead of {value!r:.40}")
    values = [value] if isinstance(value, str) else value
    for item in values:
        if not isinstance(item, str) or not encodable(item):
            raise TypeError(f"text is needed instead of {item!r:.40}")
    return tuple(values)


def objects(value: object, name: str) -> list[Record]:
    """None or a list of objects, as a list; `name` is the field that messages name."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError(f"{name} is {type(value).__name__}, not a list")
    for item in value:
        if not isinstance(item, dict):
            raise TypeError(f"{name} has {item!r:.40}, not an object")
    return value


def encodable(content: str) -> bool:
    r"""False for an unpaired surrogate, which JSON can contain but no tokenizer accepts.

    >>> encodable("Zürich \U0001F600"), encodable("\ud83d")
    (True, False)
    """
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True
