"""The explorer of the cases: its script, and its data, in which each text is stored once."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from editcore.collapse.verdict import COLLAPSED, DAMAGED, GRADES
from editcore.records.columns import meanings
from editcore.records.metric_columns import MEAN_COLUMNS
from editcore.records.schemas import CASES
from editcore.report.data import ReportData
from editcore.requests import OK

# In an order in which each uses only names of those before it.
SCRIPTS = (
    "numbers",
    "tables",
    "cases",
    "scales",
    "marks",
    "figure",
    "plot",
    "details",
    "sentences",
    "controls",
    "links",
    "downloads",
    "svg",
    "explore",
)
# Keeps the page responsive on a phone; the tables have all cases.
MOST_POINTS = 10_000
TEXTS = (
    "subject",
    "prompt",
    "target_new",
    "target_true",
    "continuation_base",
    "continuation",
    "status",
)
NUMBERS = (
    "perplexity",
    "perplexity_base",
    "perplexity_ratio",
    "kl_mean",
    "kl_upper",
    "top1_kept",
    "denominator",
    "exposure",
    "warning",
    "numerator_norm",
    "delta_norm",
    "weight_norm",
    "subject_start",
    "subject_tokens",
    *MEAN_COLUMNS,
)
DIGITS = 7
# Of edits whose predictions were not compared, it is only known that they did not collapse.
UNKNOWN = "not collapsed"
FAILED = "failed"
GRADE_NAMES = (*GRADES, UNKNOWN, FAILED)


def script() -> Markup:
    """The page's script: the files of `explore/`, whose names only each other can see."""
    folder = Path(__file__).parent / "explore"
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return Markup('"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n")


def cases_file(study: ReportData, page: Path) -> str | None:
    """The page's link to the table of all cases; None if that is not in a folder next to it."""
    file = (study.folder / "cases.parquet").resolve()
    folder = page.parent.resolve()
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else None


def data(study: ReportData) -> Markup | None:
    """The cases as JSON that is safe inside a script element; None if no edit was made."""
    if study.made().is_empty():
        return None
    cases, left_out = chosen(study)
    texts = _Texts()
    columns: dict[str, list[Any]] = {"case_id": cases["case_id"].to_list()}
    labels = {"model": study.models, "editor": study.editors, "dataset": study.datasets}
    for name, known in labels.items():
        columns[name] = [known.index(value) for value in cases[name]]
    for name in TEXTS:
        columns[name] = [texts.place(value) for value in cases[name]]
    for name in NUMBERS:
        columns[name] = [_rounded(value) for value in cases[name]]
    columns["grade"] = [GRADE_NAMES.index(value) for value in cases["grade"]]
    content = {
        "labels": {**labels, "grade": GRADE_NAMES},
        "thresholds": [_threshold(study, model) for model in study.models],
        "columns": columns,
        "texts": texts.known,
        "meanings": {name: meaning for name, meaning in meanings(CASES).items() if name in NUMBERS},
        "left_out": left_out,
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))


def chosen(study: ReportData, most: int = MOST_POINTS) -> tuple[pl.DataFrame, int]:
    """The cases that the page shows, with a grade for each, and the number that it leaves out.

    All collapsed, damaged and failed cases are shown if there is room, and an even selection of the
    others.
    """
    failed = (pl.col("status") != OK) | pl.col("perplexity_ratio").is_null()
    grade = pl.when(failed).then(pl.lit(FAILED)).otherwise(pl.col("grade").fill_null(UNKNOWN))
    cases = study.cases.with_columns(grade=grade)
    if len(cases) <= most:
        return cases, 0
    order = [COLLAPSED, DAMAGED, FAILED]
    harmed = pl.concat([cases.filter(pl.col("grade") == each) for each in order]).head(most)
    others = cases.filter(~pl.col("grade").is_in(order))
    room = most - len(harmed)
    step = len(others) / room if room else 0
    shown = pl.concat([harmed, others[[int(i * step) for i in range(room)]]])
    return shown, len(cases) - len(shown)


def _threshold(study: ReportData, model: str) -> float | None:
    base = study.base(model)
    # Rounded, so that models with the same threshold share one line.
    return None if base is None else float(f"{study.threshold(base) / base:.6g}")


def _rounded(value: float | None) -> float | int | str | None:
    """A number with few digits; infinity, which JSON lacks, as text."""
    if value is None or isinstance(value, int):
        return value
    if not math.isfinite(value):
        return "inf"
    return float(f"{value:.{DIGITS}g}")


class _Texts:
    """Texts by number, each stored once; -1 for none."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    @property
    def known(self) -> Sequence[str]:
        """All texts, in the order of their numbers."""
        return list(self._places)

    def place(self, text: str | None) -> int:
        """The number of a text."""
        return -1 if text is None else self._places.setdefault(text, len(self._places))
