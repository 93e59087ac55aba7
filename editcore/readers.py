"""Readers: COUNTERFACT, its flat variant and zsRE into requests, files of texts into lists."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from editcore.errors import DataError
from editcore.requests import SLOT, EditRequest, Probe

Format = Literal["auto", "counterfact", "flat", "zsre"]
Record = Mapping[str, Any]
Parser = Callable[[Record, int], EditRequest | None]


def read_requests(path: str | Path, format: Format = "auto") -> list[EditRequest]:
    """All edit requests of a JSON or JSON Lines file, in its order, with distinct case ids.

    `format` names the records' shape: `counterfact` (Meng et al. 2022), `flat` (the same facts as
    EasyEdit writes them: the subject in full inside the prompt), `zsre` (Mitchell et al. 2022);
    `auto` tells it from the first record. zsRE records without an alternative answer are left out,
    as in the collapse papers' loader; they keep their number, which is the case id there.
    Raises `DataError` naming the file, the record and the remedy.
    """
    path = Path(path)
    records = _records(path)
    parser = _parser(path, records[0], format)
    requests: dict[int, EditRequest] = {}
    for index, record in enumerate(records):
        request = _parse(path, parser, record, index)
        if request is None:
            continue
        if request.case_id in requests:
            raise DataError(
                f"{path}, record {index}: case_id {request.case_id} was already used by an earlier "
                "record; results are told apart by it, so give each record its own"
            )
        requests[request.case_id] = request
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


def read_texts(path: str | Path, count: int | None = None) -> list[str]:
    """The first `count` texts of a file (all, where None), exactly as they stand in it.

    Read are a JSON list of strings or of objects with `Text` or `text` (ME-PPL), JSON Lines of the
    same, and plain `.txt` with one text a line. Raises `DataError` where the file holds fewer.
    """
    path = Path(path)
    if path.suffix == ".txt":
        texts = [line for line in _content(path).splitlines() if line.strip()]
    else:
        texts = [_text(path, item, index) for index, item in enumerate(_items(path))]
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


def _items(path: Path) -> list[Any]:
    """The elements of a JSON list, or one element per line of a `.jsonl` file."""
    content = _content(path)
    if path.suffix == ".jsonl":
        return list(_lines(path, content))
    try:
        items = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); "
            "repair the file, or name it .jsonl where each line is a record of its own"
        ) from error
    if not isinstance(items, list):
        raise DataError(f"{path}: a JSON list is needed, this is a {type(items).__name__}")
    return items


def _lines(path: Path, content: str) -> Iterator[Any]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not valid JSON ({error.msg}); repair or remove the line"
            ) from error


def _records(path: Path) -> list[Record]:
    items = _items(path)
    if not items:
        raise DataError(f"{path}: holds no records; give it at least one")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(
                f"{path}, record {index}: an object with the fields of one fact is needed, "
                f"this is a {type(item).__name__}"
            )
    return items


def _text(path: Path, item: object, index: int) -> str:
    if isinstance(item, dict):
        item = item.get("Text", item.get("text"))
    if not isinstance(item, str) or not item.strip():
        raise DataError(
            f"{path}, record {index}: no text; it must be a string that is not blank, "
            "or an object with one under 'Text' or 'text'"
        )
    return item


def _parser(path: Path, first: Record, format: Format) -> Parser:
    parsers: dict[str, Parser] = {
        "counterfact": _counterfact,
        "flat": _flat,
        "zsre": _zsre,
    }
    if format in parsers:
        return parsers[format]
    if format != "auto":
        raise DataError(f"{path}: unknown format {format!r}; one of {', '.join(get_args(Format))}")
    if "requested_rewrite" in first:
        return _counterfact
    if {"src", "alt"} <= first.keys():
        return _zsre
    if {"prompt", "subject", "target_new"} <= first.keys():
        return _flat
    raise DataError(
        f"{path}: the fields {', '.join(first) or '(none)'} are of no known format; needed are "
        "requested_rewrite (COUNTERFACT), or prompt, subject and target_new (flat), or src, "
        "subject and alt (zsRE)"
    )


def _parse(path: Path, parser: Parser, record: Record, index: int) -> EditRequest | None:
    """One record into a request; what is wrong with it becomes an error that names its place."""
    where = f"{path}, record {index}"
    try:
        return parser(record, index)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except KeyError as error:
        raise DataError(
            f"{where} (case_id {record.get('case_id', index)}): the field {error} is missing; "
            "add it or remove the record"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where} (case_id {record.get('case_id', index)}): a field has the wrong type "
            f"({error}); compare it with the file's other records"
        ) from error


def _counterfact(record: Record, index: int) -> EditRequest:
    rewrite = record["requested_rewrite"]
    truth = _string(rewrite["target_true"], "str")
    return EditRequest(
        case_id=int(record.get("case_id", index)),
        prompt=_string(rewrite, "prompt"),
        subject=_string(rewrite, "subject"),
        target_new=_string(rewrite["target_new"], "str").strip(),
        target_true=truth.strip(),
        relation=str(rewrite.get("relation_id", "")),
        paraphrases=_strings(record.get("paraphrase_prompts")),
        neighbours=tuple(
            Probe(prompt, truth.strip()) for prompt in _strings(record.get("neighborhood_prompts"))
        ),
    )


def _flat(record: Record, index: int) -> EditRequest:
    case_id = int(record.get("case_id", index))
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
        relation=str(record.get("relation_id", "")),
        paraphrases=_strings(record.get("rephrase_prompt")),
        neighbours=tuple(Probe(p, a.strip()) for p, a in zip(probes, answers, strict=True)),
    )


def _zsre(record: Record, index: int) -> EditRequest | None:
    """The new object is `alt`, as in the collapse papers (elsewhere the first answer is taken)."""
    case_id = int(record.get("case_id", index))
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
    return value


def _strings(value: object) -> tuple[str, ...]:
    """No string, one string or a list of them, as a tuple."""
    if value is None or value == "":
        return ()
    values: Sequence[object] = [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    for item in values:
        if not isinstance(item, str):
            raise TypeError(f"text is needed where {item!r} stands")
    return tuple(str(item) for item in values)
