"""The built-in data-set formats: functions from one record to one edit request."""

import re
from collections.abc import Callable, Mapping
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


def counterfact(record: Record, index: int) -> EditRequest:
    """A record of COUNTERFACT (Meng et al. 2022).

    The neighbours' answer is the true object, unless `neighborhood_objects` lists one for each, as
    in files written by editcore.
    """
    rewrite = record["requested_rewrite"]
    truth = _string(rewrite["target_true"], "str")
    case_id = record_id(record, index)
    fields = "neighborhood_prompts", "neighborhood_objects"
    return EditRequest(
        case_id=case_id,
        prompt=_string(rewrite, "prompt"),
        subject=_string(rewrite, "subject"),
        target_new=_string(rewrite["target_new"], "str").strip(),
        target_true=truth.strip(),
        relation=_relation(rewrite),
        paraphrases=_strings(record.get("paraphrase_prompts")),
        neighbours=_neighbours(record, case_id, *fields, default=truth),
    )


def flat(record: Record, index: int) -> EditRequest:
    """A flat record, with the subject written out in the prompt (EasyEdit)."""
    case_id = record_id(record, index)
    subject = _string(record, "subject")
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(_string(record, "prompt"), subject),
        subject=subject,
        target_new=_string(record, "target_new").strip(),
        target_true=_string(record, "ground_truth").strip(),
        relation=_relation(record),
        paraphrases=_strings(record.get("rephrase_prompt")),
        neighbours=_neighbours(record, case_id, "locality_prompt", "locality_ground_truth"),
    )


def zsre(record: Record, index: int) -> EditRequest | None:
    """A record of zsRE (Mitchell et al. 2022); None for one without an alternative answer.

    The new object is `alt`, as in the collapse papers; other code takes the first answer.
    """
    case_id = record_id(record, index)
    if not _string(record, "alt").strip():
        return None
    subject = _string(record, "subject")
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(_string(record, "src"), subject),
        subject=subject,
        target_new=_string(record, "alt").strip(),
        target_true=_strings(record["answers"])[0].strip(),
        paraphrases=_strings(record.get("rephrase")),
        neighbours=(Probe(_string(record, "loc"), _string(record, "loc_ans").strip()),)
        if record.get("loc")
        else (),
    )


def _neighbours(
    record: Record, case_id: int, prompts: str, answers: str, *, default: str | None = None
) -> tuple[Probe, ...]:
    """The prompts of a field with the answers of another; without any, `default` answers each."""
    asked, given = _strings(record.get(prompts)), _strings(record.get(answers))
    if not given and default is not None:
        given = (default,) * len(asked)
    if len(asked) != len(given):
        raise DataError(
            f"case {case_id}: {len(asked)} {prompts} but {len(given)} {answers}; each prompt needs "
            "its answer"
        )
    return tuple(Probe(prompt, answer.strip()) for prompt, answer in zip(asked, given, strict=True))


def _relation(record: Record) -> str:
    return _string(record, "relation_id") if record.get("relation_id") is not None else ""


def with_slot(prompt: str, subject: str) -> str:
    """The prompt with `{}` in place of its subject, matched as a whole word if possible.

    A prompt without exactly one match is returned unchanged, and its request is flawed.

    >>> with_slot("The maker of Coral is", "Coral")
    'The maker of {} is'
    """
    if SLOT in prompt or not subject:
        return prompt
    words = [m.start() for m in re.finditer(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt)]
    places = words or [m.start() for m in re.finditer(re.escape(subject), prompt)]
    if len(places) != 1:
        return prompt
    return prompt[: places[0]] + SLOT + prompt[places[0] + len(subject) :]


def _string(record: Record, field: str) -> str:
    value = record[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is {type(value).__name__}, not text")
    if not encodable(value):
        raise ValueError(f"{field} contains an unpaired surrogate")
    return value


def _strings(value: object) -> tuple[str, ...]:
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


def encodable(text: str) -> bool:
    r"""False for an unpaired surrogate, which JSON can contain but no tokenizer accepts.

    >>> encodable("Zürich \U0001F600"), encodable("\ud83d")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
