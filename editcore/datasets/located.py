"""The facts of several data files as one list, each with the place that it comes from."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from editcore.datasets.data_file import DataFile
from editcore.datasets.items import lines_of
from editcore.datasets.readers import read_places
from editcore.registry.registry import Registry, load_registry
from editcore.requests import EditRequest


@dataclass(frozen=True)
class Located:
    """A fact, its file, and the line in which its record begins; None in a Parquet file."""

    request: EditRequest
    path: Path
    line: int | None


def read_located(paths: Iterable[Path], registry: Registry | None = None) -> list[Located]:
    """The facts of all files, in order, with distinct case ids; raises as `read_requests` does.

    A fact whose case id an earlier file has used gets the next number that is free.
    """
    known = load_registry() if registry is None else registry
    found: list[Located] = []
    taken: set[int] = set()
    for path in paths:
        _, requests = read_places(DataFile(str(path)), known)
        lines, own = lines_of(path), {request.case_id for _, request in requests}
        free = max(0, *taken, *own) + 1
        for place, request in requests:
            if request.case_id in taken:
                request, free = replace(request, case_id=free), free + 1
            taken.add(request.case_id)
            found.append(Located(request, path, lines[place.index] if lines else place.line))
    return found
