"""Reads data files: facts as edit requests, according to their format, and texts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from editcore.datasets import named_columns
from editcore.datasets.data_file import DataFile
from editcore.datasets.formats.fields import (
    Record,
    RecordParser,
    encodable,
    record_id,
)
from editcore.datasets.items import Broken, Item, Place, content_of, items_of, names_in
from editcore.errors import DataError, at, in_one_line
from editcore.registry.hookspecs import AUTO
from editcore.registry.registry import Registry, load_registry, resolve_factory
from editcore.requests import EditRequest


def read_requests(
    path: str | Path, format: str = AUTO, registry: Registry | None = None
) -> list[EditRequest]:
    """All edit requests of a data file, in order, with distinct case ids.

    The file is JSON, JSON Lines, Parquet, CSV or TSV.

    `format` is the name of a data-set format in the registry (by default, of the installed
    plugins); `auto` recognises it by the fields of the first record that fits one. Records that the
    format skips are counted, so the others' case ids do not depend on it. A broken record becomes a
    request whose `flaw` gives the reason and the record, or the line of a JSON Lines file or a
    table; its case id is negative if it has no usable one. Raises `DataError` if the file is
    unusable or no record is valid, and `PluginError` for an unknown format.
    """
    known = load_registry() if registry is None else registry
    return read_dataset(DataFile(str(path), format), known)[1]


def read_dataset(file: DataFile, registry: Registry) -> tuple[str, list[EditRequest]]:
    """The name of the records' format, and all requests; raises as `read_requests` does.

    Raises `DataError`, too, if no record has a column that the file is to have.
    """
    name, found = read_places(file, registry)
    return name, [request for _, request in found]


def read_places(file: DataFile, registry: Registry) -> tuple[str, list[tuple[Place, EditRequest]]]:
    """As `read_dataset`, each request with the place of its record."""
    path = Path(file.path)
    items = items_of(path)
    if not items:
        raise DataError(f"{path}: contains no records; add at least one")
    name, parser, items = _reading(file, items, registry)
    requests: dict[int, EditRequest] = {}
    places: dict[int, Place] = {}
    for place, item in items:
        try:
            request = _parse(parser, place, item)
            if request is not None and request.case_id in requests:
                raise DataError(
                    f"{place}: case_id {request.case_id} was already used by an earlier record; "
                    "it identifies results, so give each record its own"
                )
        except DataError as error:
            request = _unreadable(item, place, str(error), requests)
        if request is not None:
            requests[request.case_id] = request
            places[request.case_id] = place
    if requests and all(request.unreadable for request in requests.values()):
        first = next(iter(requests.values())).unreadable
        raise DataError(f"{path}: no record can be used; {first}")
    return name, [(places[case], request) for case, request in requests.items()]


def read_cases(file: DataFile, case_ids: Sequence[int], registry: Registry) -> list[EditRequest]:
    """The requests of a job; raises `DataError` if the file no longer contains one of them."""
    known = {request.case_id: request for request in read_dataset(file, registry)[1]}
    if missing := [case for case in case_ids if case not in known]:
        raise DataError(
            f"{file.path} no longer contains case {missing[0]}; run the workflow again to "
            "plan its jobs again"
        )
    return [known[case] for case in case_ids]


def read_records(path: str | Path) -> list[Record]:
    """The objects of a data file; raises `DataError` if it holds anything else."""
    path = Path(path)
    records: list[Record] = []
    for place, item in items_of(path):
        if not isinstance(item, dict):
            reason = item.reason if isinstance(item, Broken) else "an object is needed; correct it"
            raise DataError(f"{path}, {place}: {reason}")
        records.append(item)
    if not records:
        raise DataError(f"{path}: contains no records; add at least one")
    return records


def read_texts(path: str | Path, count: int | None = None) -> list[str]:
    """The first `count` texts of a file (all if None), unchanged.

    The file is a JSON list of strings or of objects with `Text` or `text` (as ME-PPL), JSON Lines
    of the same, Parquet or a table with such a column, or a `.txt` with one text per line. Raises
    `DataError` if it has fewer.
    """
    path = Path(path)
    if path.suffix == ".txt":
        texts = [line for line in content_of(path).splitlines() if line.strip()]
    else:
        texts = [_text(path, place, item) for place, item in items_of(path)]
    if not texts:
        raise DataError(f"{path}: contains no texts; add at least one")
    if count is not None and len(texts) < count:
        raise DataError(
            f"{path}: {count} texts were asked for, but it has {len(texts)}; "
            f"ask for at most {len(texts)} or add texts to the file"
        )
    return texts[:count]


def _text(path: Path, place: Place, item: object) -> str:
    if isinstance(item, Broken):
        raise DataError(f"{path}, {place}: {item.reason}")
    if isinstance(item, dict):
        item = item.get("Text", item.get("text"))
    if not isinstance(item, str) or not item.strip() or not encodable(item):
        raise DataError(
            f"{path}, {place}: no text; it must be a string of valid characters that is not "
            "blank, or an object with one under 'Text' or 'text'"
        )
    return item


def _reading(
    file: DataFile, items: list[Item], registry: Registry
) -> tuple[str, RecordParser, list[Item]]:
    """How a file's records are called and parsed, and the items to parse."""
    if (columns := file.columns) is None:
        auto = file.format == AUTO
        name = _format(Path(file.path), items, registry) if auto else file.format
        return name, resolve_factory(registry.dataset_formats[name].record.factory), items
    with at(file.path):
        named_columns.require_columns(columns, names_in(Path(file.path), items))
    parse = partial(named_columns.request_of, columns)
    found = [
        (place, named_columns.numbered(columns, item) if isinstance(item, dict) else item)
        for place, item in items
    ]
    return named_columns.NAME, parse, found


def _format(path: Path, items: Sequence[Item], registry: Registry) -> str:
    """The format of the first record that fits one; of several, the one with all their fields.

    Raises `DataError` if no record fits any, or if none of several has all their fields.
    """
    infos = [entry.record for entry in registry.dataset_formats.values()]
    formats = {info.name: info.fields for info in infos if info.fields}
    records = [item for _, item in items if isinstance(item, dict)]
    for record in records:
        fitting = {name: set(f) for name, f in formats.items() if _fields(record) >= set(f)}
        every = set().union(*fitting.values())
        best = [name for name, fields in fitting.items() if fields == every]
        if len(best) == 1:
            return best[0]
        if fitting:
            raise DataError(
                f"{path}: the fields of its records fit the formats {' and '.join(fitting)}; "
                "name the right one with `format`"
            )
    if not records:
        raise DataError(f"{path}: no record can be used; {_why_not_read(*items[0])}")
    needed = ", or ".join(f"{_listed(fields)} ({name})" for name, fields in formats.items())
    raise DataError(
        f"{path}: the fields {', '.join(records[0]) or '(none)'} match no known format; the known "
        f"formats need {needed or 'plugins that provide formats'}"
    )


def _fields(record: Record) -> set[str]:
    """A record's fields, and as `field.inner` those of the objects in them, the first of a list.

    >>> sorted(_fields({"edit": {"prompt": "It is"}, "facts": [{"id": 1}]}))
    ['edit', 'edit.prompt', 'facts', 'facts.id']
    """
    found = set(record)
    for name, value in record.items():
        inner = value[0] if isinstance(value, list) and value else value
        found |= {f"{name}.{key}" for key in inner} if isinstance(inner, dict) else set()
    return found


def _listed(names: Sequence[str]) -> str:
    """Names joined as in a sentence.

    >>> _listed(["src"]), _listed(["prompt", "subject", "target_new"])
    ('src', 'prompt, subject and target_new')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _parse(parser: RecordParser, place: Place, item: Any) -> EditRequest | None:
    """One record as a request; raises `DataError` with its place if anything is wrong."""
    if why := _why_not_read(place, item):
        raise DataError(why)
    where = f"{place} (case_id {item.get('case_id', place.index)!s:.40})"
    try:
        return _sound(parser(item, place.index))
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    except KeyError as error:
        raise DataError(
            f"{where}: the field {error} is missing; add it or remove the record"
        ) from error
    except Exception as error:  # a third party's parser may raise anything
        raise DataError(
            f"{where}: a field has the wrong type ({in_one_line(error)}); "
            "compare it with the file's other records"
        ) from error


def _why_not_read(place: Place, item: Any) -> str:
    """Why an item is not a record; empty for an object."""
    if isinstance(item, Broken):
        return f"{place}: {item.reason}"
    if not isinstance(item, dict):
        return (
            f"{place}: an object with the fields of one fact is needed, but this is a "
            f"{type(item).__name__}; correct or remove it"
        )
    return ""


def _sound(request: object) -> EditRequest | None:
    """The request that a format returned; raises an error if it cannot be edited or reported."""
    if request is None:
        return None
    if not isinstance(request, EditRequest):
        raise TypeError(f"the format returned {type(request).__name__}, not an EditRequest")
    number = record_id({"case_id": request.case_id}, 0)
    for text in _all_texts(request):
        if not isinstance(text, str) or not encodable(text):
            raise TypeError(f"{text!r:.40} is not text")
    return replace(request, case_id=number)


def _all_texts(request: EditRequest) -> Iterator[object]:
    """What has to be text in a request that a format returned."""
    yield from (request.prompt, request.subject, request.target_new, request.target_true)
    yield from (request.relation, request.question, *request.paraphrases, *request.aliases)
    for probe in (*request.neighbours, *request.consequences):
        yield from (probe.prompt, probe.target, probe.kind, *probe.aliases)
    for other in request.further:
        yield from _all_texts(other)


def _unreadable(
    item: Any, place: Place, reason: str, taken: Mapping[int, EditRequest]
) -> EditRequest:
    """A request that represents a broken record, under its own number if it has one."""
    number = -1 - place.index
    with suppress(TypeError, ValueError, AttributeError):
        number = record_id(item, place.index)
    while number in taken:
        number = min(0, *taken) - 1 - place.index
    return EditRequest(number, "", "", "", "", unreadable=reason)
