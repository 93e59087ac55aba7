"""The cases in a file of deltas, read without torch."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from editcore.errors import DataError, reading
from editcore.sources.safetensors_header import read_header

CASES = "cases"
REMEDY = "give a file that `check --save`, `guard` or a study wrote"


def cases_in(path: Path) -> list[int]:
    """The cases of a file, in its order; `DataError` if there is none, or it holds no deltas."""
    if not path.is_file():
        raise DataError(f"there is no file {path}; {REMEDY}")
    header = read_header(path, REMEDY)
    with reading(path, "deltas", REMEDY):
        return cases(header.metadata, header.places)


def cases(metadata: Mapping[str, str], names: Iterable[str]) -> list[int]:
    """The cases that the metadata list, then those in tensors' names, `case/parameter/part`."""
    listed = [int(case) for case in json.loads(metadata.get(CASES, "[]"))]
    return list(dict.fromkeys([*listed, *(int(case) for case, _, _ in map(parts, names))]))


def parts(name: str) -> tuple[str, str, str]:
    """The case, the parameter and the part of an update in a tensor's name."""
    case, parameter, part = name.split("/")
    return case, parameter, part
