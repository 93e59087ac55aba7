"""Data of the cases for the page's chart; each text is stored once."""

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from editcore.collapse.verdict import COLLAPSED, DAMAGED, GRADES
from editcore.records.columns import meanings
from editcore.records.metric_columns import MEAN_COLUMNS
from editcore.records.schemas import CASES
from editcore.report.data import ReportData
from editcore.report.drawing.style import marks

# Keeps the page responsive on a phone; the tables have all cases.
MOST_POINTS = 10_000
TEXTS = ("subject", "prompt", "target_new", "target_true", "continuation_base", "continuation")
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
SHAPES = {"^": "triangle", "o": "circle", "s": "rect", "D": "rectRot", "v": "star", "P": "crossRot"}
DIGITS = 4
# Of edits whose predictions were not compared, it is only known that they did not collapse.
UNKNOWN = "not collapsed"
GRADE_NAMES = (*GRADES, UNKNOWN)


def data(study: ReportData) -> Markup | None:
    """The cases as JSON that is safe inside a script element; None if no edit was made."""
    cases, left_out = chosen(study)
    if cases.is_empty():
        return None
    texts = _Texts()
    columns: dict[str, list[Any]] = {"case_id": cases["case_id"].to_list()}
    labels = {"model": study.models, "editor": study.editors, "dataset": study.datasets}
    for name, known in labels.items():
        columns[name] = [known.index(value) for value in cases[name]]
    for name in TEXTS:
        columns[name] = [texts.place(value) for value in cases[name]]
    for name in NUMBERS:
        columns[name] = [_rounded(value) for value in cases[name]]
    columns["grade"] = [GRADE_NAMES.index(value or UNKNOWN) for value in cases["grade"]]
    content = {
        "labels": {**labels, "grade": GRADE_NAMES},
        "shapes": [SHAPES[mark.marker] for mark in marks(study.datasets).values()],
        "thresholds": [_threshold(study, model) for model in study.models],
        "columns": columns,
        "texts": texts.known,
        "meanings": {name: meaning for name, meaning in meanings(CASES).items() if name in NUMBERS},
        "left_out": left_out,
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))


def chosen(study: ReportData, most: int = MOST_POINTS) -> tuple[pl.DataFrame, int]:
    """The cases that the page shows, and the number that it leaves out.

    All collapsed and damaged cases are shown if there is room, and an even selection of the others.
    """
    made = study.made().filter(pl.col("perplexity_ratio").is_not_null())
    if len(made) <= most:
        return made, 0
    harmed = pl.col("grade").is_in([DAMAGED, COLLAPSED]).fill_null(value=False)
    first = made.filter(harmed).sort(~pl.col("collapsed"), maintain_order=True).head(most)
    sound = made.filter(~harmed)
    room = most - len(first)
    step = len(sound) / room if room else 0
    kept = sound[[int(i * step) for i in range(room)]]
    shown = pl.concat([first, kept])
    return shown, len(made) - len(shown)


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
