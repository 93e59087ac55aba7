"""Makes data sets from a finished study: cases that collapsed a model, and cases that did not.

"The Butterfly Effect of Model Editing", §5.1: HardCF, gathered by single edits.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from editcore import atomic
from editcore.datasets.data_file import DataFile
from editcore.datasets.readers import read_dataset
from editcore.datasets.writers import Record, counterfact_record
from editcore.errors import DataError
from editcore.registry.registry import load_registry
from editcore.requests import OK, EditRequest

KINDS = ("hard", "normal")


@dataclass(frozen=True)
class Mined:
    """The files written, and the number of cases in each."""

    files: Mapping[Path, int]


def write_mined(
    cases: pl.DataFrame, data: Mapping[str, DataFile], out_dir: Path, seed: int, where: str
) -> Mined:
    """Write `<model>-<editor>-hard.json` and `-normal.json` for each pair that has collapsed edits.

    `cases` are the edit rows, `data` the file of each of their data sets, `where` the origin of the
    rows. As many normal as hard cases are drawn from those that did not collapse. Raises
    `DataError` if nothing collapsed, or a file no longer has a case.
    """
    registry = load_registry()
    known = {
        name: {request.case_id: request for request in read_dataset(file, registry)[1]}
        for name, file in data.items()
    }
    written: dict[Path, int] = {}
    made = cases.filter(pl.col("status") == OK, pl.col("dataset").is_in(list(data)))
    for (model, editor), frame in made.sort("model", "editor", "dataset", "case_id").group_by(
        "model", "editor", maintain_order=True
    ):
        rows = frame.to_dicts()
        hard = [row for row in rows if row["collapsed"]]
        rest = [row for row in rows if row["collapsed"] is False]
        normal = random.Random(seed).sample(rest, min(len(hard), len(rest)))
        for kind, chosen in zip(KINDS, (hard, normal), strict=True):
            if hard and chosen:
                path = out_dir / f"{model}-{editor}-{kind}.json"
                records = [_record(row, known, data, where) for row in chosen]
                atomic.write_text(path, json.dumps(_numbered(records), indent=1) + "\n")
                written[path] = len(records)
    if not written:
        raise DataError(
            f"{where}: no edit of these data sets collapsed a model, so no case is hard; edit more "
            "cases, or use an editor that collapses models"
        )
    return Mined(written)


def _record(
    row: Mapping[str, Any],
    known: Mapping[str, Mapping[int, EditRequest]],
    data: Mapping[str, DataFile],
    where: str,
) -> Record:
    """A case in COUNTERFACT's format, with the reason under `mined`."""
    dataset, case_id = row["dataset"], row["case_id"]
    request = known[dataset].get(case_id)
    if request is None:
        raise DataError(
            f"{data[dataset].path} has no case {case_id}, which is in {where}; give the file that "
            "the edits were made with"
        )
    if request.further:
        raise DataError(
            f"{data[dataset].path}: case {case_id} has {len(request.facts)} facts, and a mined "
            "record has one; leave this data set out"
        )
    return counterfact_record(request) | {
        "mined": {
            "from": data[dataset].path,
            "dataset": dataset,
            "case_id": case_id,
            **{name: row[name] for name in ("model", "editor", "collapsed", "seed")},
            "perplexity": _finite(row["perplexity"]),
            "perplexity_base": row["perplexity_base"],
        },
    }


def _finite(value: float) -> float | str:
    """A finite number, or a string, since JSON has no infinity."""
    return value if value < float("inf") else "inf"


def _numbered(records: Sequence[Record]) -> list[Record]:
    """Records with distinct case ids: their own ones if these are distinct."""
    ids = [record["case_id"] for record in records]
    if len(set(ids)) == len(ids):
        return list(records)
    return [record | {"case_id": number} for number, record in enumerate(records)]


def named(pairs: Iterable[str]) -> dict[str, DataFile]:
    """`label=file` pairs as a mapping; `DataError` for one without `=`.

    >>> named(["hard=facts.json"])["hard"].path
    'facts.json'
    """
    found = {}
    for pair in pairs:
        label, equals, file = pair.partition("=")
        if not equals:
            raise DataError(f"--data {pair}: write the data set's label, `=` and its file")
        found[label] = DataFile(file)
    return found
