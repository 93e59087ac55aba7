"""Readers: COUNTERFACT, its flat variant and zsRE into requests, files of texts into lists."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from editcore.errors import DataError
from editcore.requests import SLOT, EditRequest, Probe

Format = Literal["auto", "counterfact", "flat", "zsre"]
Record = Mapping[str, Any]
Parser = Callable[[Record, int], EditRequest | None]
# Case ids are 64-bit numbers in the tables.
LARGEST = 2**63


def read_requests(path: str | Path, format: Format = "auto") -> list[EditRequest]:
    """All edit requests of a JSON or JSON Lines file, in its order, with distinct case ids.

    `format` names the records' shape: `counterfact` (Meng et al. 2022), `flat` (the same facts as
    EasyEdit writes them: the subject in full inside the prompt), `zsre` (Mitchell et al. 2022);
    `auto` tells it from the first record that has one. zsRE records without an alternative answer
    are left out, as in the collapse papers' loader; they keep their number, which is the case id
    there. A broken record becomes a request whose flaw says what is wrong and in which record, or
    line of a JSON Lines file; where it has no usable number, its case id is negative. Raises
    `DataError` where the file as a whole is unfit, or no record of it is sound.
    """
    path = Path(path)
    items = _items(path)
    if not items:
        raise DataError(f"{path}: holds no records; give it at least one")
    parser = _parser(path, items, format)
    requests: dict[int, EditRequest] = {}
    for place, item in items:
        try:
            request = _parse(parser, place, item)
            if request is not None and request.case_id in requests:
                raise DataError(
                    f"{place}: case_id {request.case_id} was already used by an earlier record; "
                    "results are told apart by it, so give each record its own"
                )
        except DataError as error:
            request = _unreadable(item, place, str(error), requests)
        if request is not None:
            requests[request.case_id] = request
    if requests and all(request.unreadable for request in requests.values()):
        first = next(iter(requests.values())).unreadable
        raise DataError(f"{path}: no record can be used; {first}")
    return list(requests.values())


def read_cases(path: str, format: Format, case_ids: Sequence[int]) -> list[EditRequest]:
    """The requests of a job; `DataError` where the file has lost one of them."""
    known = {request.case_id: request for request in read_requests(path, format)}
    if missing := [case for case in case_ids if case not in known]:
        raise DataError(
            f"{path} no longer holds case {missing[0]}; run the workflow again: "
            "it makes its jobs anew"
        )
    return [known[case] for case in case_ids]


def read_records(path: str | Path) -> list[Record]:
    """The objects of a JSON list or a JSON Lines file; `DataError` where it holds anything else."""
    path = Path(path)
    records: list[Record] = []
    for place, item in _items(path):
        if not isinstance(item, dict):
            reason = item.reason if isinstance(item, _Broken) else "an object is needed"
            raise DataError(f"{path}, {place}: {reason}")
        records.append(item)
    if not records:
        raise DataError(f"{path}: holds no records; give it at least one")
    return records


def read_texts(path: str | Path, count: int | None = None) -> list[str]:
    """The first `count` texts of a file (all, where None), exactly as they stand in it.

    Read are a JSON list of strings or of objects with `Text` or `text` (ME-PPL), JSON Lines of the
    same, and plain `.txt` with one text a line. Raises `DataError` where the file holds fewer.
    """
    path = Path(path)
    if path.suffix == ".txt":
        texts = [line for line in _content(path).splitlines() if line.strip()]
    else:
        texts = [_text(path, place, item) for place, item in _items(path)]
    if not texts:
        raise DataError(f"{path}: holds no texts; give it at least one")
    if count is not None and len(texts) < count:
        raise DataError(
            f"{path}: {count} texts were asked for but it holds {len(texts)}; "
            f"ask for at most {len(texts)} or add texts to the file"
        )
    return texts[:count]


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; check the path, which is relative to the working directory"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error


@dataclass(frozen=True)
class _Broken:
    """What stands where a record should, and why it is none."""

    reason: str


@dataclass(frozen=True)
class _Place:
    """Where a record stands in its file: its number from 0, or its line in JSON Lines from 1."""

    index: int
    line: int | None = None

    def __str__(self) -> str:
        return f"record {self.index}" if self.line is None else f"line {self.line}"


def _items(path: Path) -> list[tuple[_Place, Any]]:
    """The elements of a JSON list, or one element per line of a `.jsonl` file."""
    content = _content(path)
    if path.suffix == ".jsonl":
        lines = [(n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
        return [(_Place(i, n), _line(line)) for i, (n, line) in enumerate(lines)]
    try:
        items = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); "
            "repair the file, or name it .jsonl where each line is a record of its own"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); repair the file") from error
    if not isinstance(items, list):
        raise DataError(f"{path}: a JSON list is needed, this is a {type(items).__name__}")
    return [(_Place(index), item) for index, item in enumerate(items)]


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return _Broken(f"not valid JSON ({reason}); repair or remove it")


def _text(path: Path, place: _Place, item: object) -> str:
    if isinstance(item, _Broken):
        raise DataError(f"{path}, {place}: {item.reason}")
    if isinstance(item, dict):
        item = item.get("Text", item.get("text"))
    if not isinstance(item, str) or not item.strip() or not _encodable(item):
        raise DataError(
            f"{path}, {place}: no text; it must be a string of valid characters that is not "
            "blank, or an object with one under 'Text' or 'text'"
        )
    return item


def _encodable(text: str) -> bool:
    """False for half of a surrogate pair, which JSON can spell and no tokenizer takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _parser(path: Path, items: Sequence[tuple[_Place, Any]], format: Format) -> Parser:
    parsers: dict[str, Parser] = {
        "counterfact": _counterfact,
        "flat": _flat,
        "zsre": _zsre,
    }
    if format in parsers:
        return parsers[format]
    if format != "auto":
        raise DataError(f"{path}: unknown format {format!r}; one of {', '.join(get_args(Format))}")
    records = [item for _, item in items if isinstance(item, dict)]
    for fields in records:
        if "requested_rewrite" in fields:
            return _counterfact
        if {"src", "alt"} <= fields.keys():
            return _zsre
        if {"prompt", "subject", "target_new"} <= fields.keys():
            return _flat
    if not records:
        return _flat  # every item is refused as it is read
    raise DataError(
        f"{path}: the fields {', '.join(records[0]) or '(none)'} are of no known format; needed "
        "are requested_rewrite (COUNTERFACT), or prompt, subject and target_new (flat), or src, "
        "subject and alt (zsRE)"
    )


def _parse(parser: Parser, place: _Place, item: Any) -> EditRequest | None:
    """One record into a request; what is wrong with it becomes an error that names its place."""
    if isinstance(item, _Broken):
        raise DataError(f"{place}: {item.reason}")
    if not isinstance(item, dict):
        raise DataError(
            f"{place}: an object with the fields of one fact is needed, "
            f"this is a {type(item).__name__}"
        )
    where = f"{place} (case_id {item.get('case_id', place.index)!s:.40})"
    try:
        return parser(item, place.index)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    except KeyError as error:
        raise DataError(
            f"{where}: the field {error} is missing; add it or remove the record"
        ) from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{where}: a field has the wrong type ({error}); "
            "compare it with the file's other records"
        ) from error


def _unreadable(
    item: Any, place: _Place, reason: str, taken: Mapping[int, EditRequest]
) -> EditRequest:
    """A request that stands for a broken record, under its own number where it has one."""
    number = -1 - place.index
    with suppress(TypeError, ValueError, AttributeError):
        number = _case_id(item, place.index)
    while number in taken:
        number = min(0, *taken) - 1 - place.index
    return EditRequest(number, "", "", "", "", unreadable=reason)


def _case_id(record: Record, index: int) -> int:
    """The record's own number, or its place in the file."""
    value = record.get("case_id", index)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"case_id is {type(value).__name__}, not a whole number")
    if not -LARGEST <= (number := int(value)) < LARGEST:
        raise ValueError(f"case_id has {len(str(value))} digits, which is too many")
    return number


def _counterfact(record: Record, index: int) -> EditRequest:
    rewrite = record["requested_rewrite"]
    truth = _string(rewrite["target_true"], "str")
    return EditRequest(
        case_id=_case_id(record, index),
        prompt=_string(rewrite, "prompt"),
        subject=_string(rewrite, "subject"),
        target_new=_string(rewrite["target_new"], "str").strip(),
        target_true=truth.strip(),
        relation=_relation(rewrite),
        paraphrases=_strings(record.get("paraphrase_prompts")),
        neighbours=tuple(
            Probe(prompt, truth.strip()) for prompt in _strings(record.get("neighborhood_prompts"))
        ),
    )


def _flat(record: Record, index: int) -> EditRequest:
    case_id = _case_id(record, index)
    subject = _string(record, "subject")
    probes = _strings(record.get("locality_prompt"))
    answers = _strings(record.get("locality_ground_truth"))
    if len(probes) != len(answers):
        raise DataError(
            f"case {case_id}: {len(probes)} locality_prompt but {len(answers)} "
            "locality_ground_truth; each prompt needs its answer"
        )
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(_string(record, "prompt"), subject),
        subject=subject,
        target_new=_string(record, "target_new").strip(),
        target_true=_string(record, "ground_truth").strip(),
        relation=_relation(record),
        paraphrases=_strings(record.get("rephrase_prompt")),
        neighbours=tuple(Probe(p, a.strip()) for p, a in zip(probes, answers, strict=True)),
    )


def _zsre(record: Record, index: int) -> EditRequest | None:
    """The new object is `alt`, as in the collapse papers (elsewhere the first answer is taken)."""
    case_id = _case_id(record, index)
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


def _relation(record: Record) -> str:
    return _string(record, "relation_id") if record.get("relation_id") is not None else ""


def with_slot(prompt: str, subject: str) -> str:
    """The prompt with `{}` where its subject stands, as a whole word where that is possible.

    A prompt in which it stands nowhere or several times stays as it is, and its request is flawed.

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
    if not _encodable(value):
        raise ValueError(f"{field} holds half of a surrogate pair")
    return value


def _strings(value: object) -> tuple[str, ...]:
    """No string, one string or a list of them, as a tuple."""
    if value is None or value == "":
        return ()
    if not isinstance(value, str | list):
        raise TypeError(f"text or a list of texts is needed where {value!r:.40} stands")
    values = [value] if isinstance(value, str) else value
    for item in values:
        if not isinstance(item, str) or not _encodable(item):
            raise TypeError(f"text is needed where {item!r:.40} stands")
    return tuple(values)
