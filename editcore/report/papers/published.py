"""The numbers that the two papers published, and tables that show ours next to them.

The numbers are data with their sources, in `published.json` and `published_curves.json`; the page,
its figures and `docs/reproduction.md` are all made from these.
"""

import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

from editcore.numbers import MISSING, number
from editcore.report.data import ReportData
from editcore.report.papers.ours import OURS, task_names
from editcore.report.tables import Table

COLLAPSED = 1000.0  # perplexity, in both papers
Rows = list[list[str]]


def content(file: str = "published.json") -> dict[str, Any]:
    """The content of one of the two files."""
    text = (importlib.resources.files("editcore.report.papers") / file).read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def curves(figure: str) -> dict[str, Any]:
    """The digitised points of a figure."""
    found: dict[str, Any] = content("published_curves.json")[figure]
    return found


def published(name: str) -> Table:
    """A published table alone, marked as published in its caption."""
    everything = content()
    entry = everything["tables"][name]
    heads = entry.get("heads") or [*entry["labels"], *entry["models"]]
    rows = [tuple(row) for row in [*entry["rows"], *_from_points(name)]]
    words = f"Published: {entry['what']}. {entry['differs']}".strip()
    caption = f"{words} {everything['sources'][entry['of']]}."
    return Table(caption, tuple(heads), tuple(rows), len(entry["labels"]))


def compared(study: ReportData, name: str) -> Table | None:
    """A published table's rows with ours next to them; None if the study has none of them."""
    everything = content()
    entry = everything["tables"][name]
    if "heads" in entry:
        entry = _lengthened(entry)
    labels = len(entry["labels"])
    rows = [*entry["rows"], *_from_points(name)]
    columns = OURS[name](study, everything)
    columns = {model: cells for model, cells in columns.items() if set(cells.values()) - {MISSING}}
    if not columns:
        return None
    heads = [f"ours: {model}" for model in columns]
    tasks = task_names(study, everything)
    cells = [
        (
            *(tasks.get(label, label) for label in row[:labels]),
            *(columns[model].get(tuple(row[:labels]), MISSING) for model in columns),
            *row[labels:],
        )
        for row in rows
    ]
    # Of a table with many quantities, only those that the study has.
    ours = slice(labels, labels + len(columns) if "heads" in entry else None)
    kept = tuple(cell for cell in cells if set(cell[ours]) - {MISSING})
    return Table(
        f"Ours next to {entry['what']} ({everything['sources'][entry['of']]}). "
        f"{entry['differs']} {everything['scale']}",
        (*entry["labels"], *heads, *(f"published: {model}" for model in entry["models"])),
        kept,
        labels,
    )


def _lengthened(entry: dict[str, Any]) -> dict[str, Any]:
    """A table of one model with a column per quantity, turned into a row per quantity."""
    labels = len(entry["labels"])
    quantities = entry["heads"][labels:]
    rows = [
        [*row[:labels], quantity, value]
        for quantity in quantities
        for row in entry["rows"]
        for value in [row[labels + quantities.index(quantity)]]
    ]
    return {**entry, "labels": [*entry["labels"], "quantity"], "rows": rows}


def _from_points(name: str) -> Rows:
    """The rows of tables that are read off the digitised points of a figure."""
    if name == "single":
        ranges = curves("single")
        editors = list(next(iter(ranges.values())))
        return [
            [editor, *(f"≈ {number(of[editor][1])}" for of in ranges.values())]
            for editor in editors
        ]
    if name == "sequences":
        sequences = curves("sequences")
        by_model = sequences["perplexity"].values()
        editors = list(next(iter(by_model)))
        return [
            [editor, cases, *(_ending(of[editor][cases], sequences["step"]) for of in by_model)]
            for editor in editors
            for cases in ("hard", "normal")
        ]
    if name == "hard-edit":
        sequences = curves("hard_edit")
        by_model = sequences["perplexity"].values()
        editors = list(next(iter(by_model)))
        return [
            [editor, *(_ending(of[editor], sequences["step"]) for of in by_model)]
            for editor in editors
        ]
    return []


def _ending(perplexities: Sequence[float], step: int) -> str:
    """The number of edits at which a sequence is first above the threshold, and its end.

    >>> _ending([68.4, 1500.0, 44700.0], 2), _ending([68.4, 70.1], 2)
    ('2 (44,700)', 'never (70.1)')
    """
    above = [place * step for place, value in enumerate(perplexities) if value > COLLAPSED]
    return f"{above[0] if above else 'never'} ({number(perplexities[-1])})"
