"""What a data file contains, item by item: JSON, JSON Lines, Parquet, and tables as CSV and TSV."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore.datasets import parquet
from editcore.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Broken:
    """Something that is not a record, and the reason."""

    reason: str


@dataclass(frozen=True)
class Place:
    """Where a record is in its file: its number from 0, or the line from 1 that it begins in."""

    index: int
    line: int | None = None

    def __str__(self) -> str:
        return f"record {self.index}" if self.line is None else f"line {self.line}"


Item = tuple[Place, Any]


def items_of(path: Path) -> list[Item]:
    """The elements of a JSON list, or of the lines or rows of any other file.

    A row of a `.csv` or `.tsv` file is a dict of texts by the header's names; empty values are left
    out, and so are columns without a name. An item that cannot be parsed is `Broken`. Raises
    `DataError` if the file cannot be read, is not a list, or is a table without a usable header.
    """
    if path.suffix == parquet.SUFFIX:
        return [(Place(index), row) for index, row in enumerate(parquet.rows(path))]
    content = content_of(path)
    if path.suffix == ".jsonl":
        lines = [(n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
        return [(Place(i, n), _line(line)) for i, (n, line) in enumerate(lines)]
    if path.suffix in SEPARATORS:
        return _rows(path, content, SEPARATORS[path.suffix])
    try:
        items = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); "
            "repair the file, or name it .jsonl if each line is a record"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); repair the file") from error
    if not isinstance(items, list):
        raise DataError(
            f"{path}: a JSON list is needed, but this is a {type(items).__name__}; put the records "
            "in a list"
        )
    return [(Place(index), item) for index, item in enumerate(items)]


def lines_of(path: Path) -> list[int] | None:
    """The line, from 1, that each element of a JSON list begins in; None for any other file.

    The file has been read by `items_of`, so it is such a list.
    """
    if path.suffix in (parquet.SUFFIX, ".jsonl", *SEPARATORS):
        return None
    content, decode = content_of(path), json.JSONDecoder().raw_decode
    lines, line, counted = [], 1, 0
    start = _next(content, content.index("[") + 1)
    while content[start] != "]":
        line, counted = line + content.count("\n", counted, start), start
        lines.append(line)
        start = _next(content, decode(content, start)[1])
    return lines


def _next(content: str, start: int) -> int:
    """Where the next element of a list begins, or the list ends."""
    found = re.compile(r"[\s,]*").match(content, start)
    assert found is not None, "the pattern matches an empty text, too"
    return found.end()


def names_in(path: Path, items: Sequence[Item]) -> set[str]:
    """The names that a file's records can have: a table's header, or all names in the objects."""
    if path.suffix in SEPARATORS:
        return set(_header(path, _parsed(content_of(path), SEPARATORS[path.suffix])))
    return {name for _, item in items if isinstance(item, dict) for name in item}


def content_of(path: Path) -> str:
    """A file's text, without a byte order mark; raises `DataError` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; check the path, which is relative to the working directory"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as UTF-8 text ({error}); give such a file"
        ) from error


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return Broken(f"not valid JSON ({reason}); repair or remove it")


def _rows(path: Path, content: str, separator: str) -> list[Item]:
    """The rows of a table after its header."""
    rows = _parsed(content, separator)
    names = _header(path, rows)
    return [(Place(i, line), _record(names, row)) for i, (line, row) in enumerate(rows)]


def _header(path: Path, rows: Iterator[tuple[int, list[str] | Broken]]) -> list[str]:
    """The names in the first row, which may be empty."""
    line, header = next(rows, (1, []))
    if isinstance(header, Broken):
        raise DataError(f"{path}, line {line}: {header.reason}")
    names = [name.strip() for name in header]
    if double := [name for name in names if name and names.count(name) > 1]:
        raise DataError(f"{path}: two columns have the name {double[0]!r}; rename one")
    return names


def _parsed(content: str, separator: str) -> Iterator[tuple[int, list[str] | Broken]]:
    """The rows that are not blank, each with the line that it begins in."""
    rows = csv.reader(io.StringIO(content), delimiter=separator, strict=True)
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, Broken(f"not a row of a table ({error}); repair its quotes or remove it")
        else:
            if row:
                yield line, row


def _record(names: list[str], row: list[str] | Broken) -> dict[str, str] | Broken:
    if isinstance(row, Broken):
        return row
    if len(row) != len(names):
        return Broken(
            f"{len(row)} values for {len(names)} columns; give one for each, in quotes if it "
            "contains the separator"
        )
    return {name: value for name, value in zip(names, row, strict=True) if name and value.strip()}
