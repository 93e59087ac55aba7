"""A study's own numbers for the published tables on why edits collapse a model."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from editcore.numbers import number, real
from editcore.records.mechanism_schemas import (
    DEPTH,
    DISTANCES,
    MOVED,
    POSITIONS_JUDGED,
    PROMPTING,
    UPDATES_JUDGED,
)
from editcore.report.data import ReportData

Cells = dict[tuple[str, ...], str]
Columns = dict[str, Cells]  # by our model
Published = Mapping[str, Any]


def updates(study: ReportData, _published: Published) -> Columns:
    """Mean numerator and denominator with mixed keys and C."""
    found = study.table("mechanism-updates", UPDATES_JUDGED)
    if found is None:
        return {}
    columns: Columns = {}
    mixed = found.filter(strategy="mixed", second_moment=True)
    for (model, cases), group in mixed.group_by("model", "cases", maintain_order=True):
        cells = columns.setdefault(str(model), {})
        cells["numerator", str(cases)] = number(real(group["numerator_norm"].mean()))
        cells["denominator", str(cases)] = number(real(group["denominator"].mean()))
    return columns


def perplexities(study: ReportData, published: Published) -> Columns:
    """The largest perplexity by key strategy, with C."""
    found = study.table("mechanism-updates", UPDATES_JUDGED)
    if found is None:
        return {}
    columns: Columns = {}
    for model in found["model"].unique(maintain_order=True):
        cells = columns.setdefault(model, {("unedited", ""): number(study.base(model))})
        for keys, cases, *_ in published["tables"]["perplexities"]["rows"]:
            rows = found.filter(
                model=model, strategy=keys.split()[0], cases=cases, second_moment=True
            )
            if not rows.is_empty():
                cells[keys, cases] = number(real(rows["perplexity"].max()))
    return columns


def positions(study: ReportData, _published: Published) -> Columns:
    """Perplexity over collapse cases with the first token at either position."""
    found = study.table("mechanism-positions", POSITIONS_JUDGED)
    if found is None:
        return {}
    columns: Columns = {}
    groups = found.filter(cases="collapse").group_by("model", "swapped", maintain_order=True)
    for (model, swapped), group in groups:
        cells = columns.setdefault(str(model), {})
        place, perplexity = "swapped" if swapped else "its own", group["perplexity"]
        cells["least", place] = number(real(perplexity.min()))
        cells["mean", place] = number(real(perplexity.mean()))
        cells["greatest", place] = number(real(perplexity.max()))
    return columns


def prompting(study: ReportData, published: Published) -> Columns:
    """Shares by metric for the editor with the mean key in both places."""
    found = study.table("mechanism-prompting", PROMPTING)
    choice = study.config.mechanism
    if found is None or choice is None:
        return {}
    wanted = published["editors"][published["remedy"]]
    choices = study.config.editors
    labels = [label for label, each in choices.items() if (each.uses or label) == wanted]
    names = {choice.hard: "collapse", choice.normal: "normal"}
    columns: Columns = {}
    rows = found.filter(pl.col("editor").is_in(labels), pl.col("dataset").is_in(list(names)))
    for row in rows.iter_rows(named=True):
        key = row["metric"], names[row["dataset"]], row["prefixed"]
        columns.setdefault(row["model"], {})[key] = f"{row['share']:.1%}".replace("%", " %")
    return columns


def keys(study: ReportData, _published: Published) -> Columns:
    """Distances and gaps between sets of keys, one minus the cosine."""
    distances = study.table("mechanism-distances", DISTANCES)
    moved = study.table("mechanism-moved", MOVED)
    depth = study.table("mechanism-depth", DEPTH)
    if distances is None or moved is None or depth is None:
        return {}
    columns: Columns = {}
    for model in moved["model"].unique(maintain_order=True):
        apart = distances.filter(model=model, metric="cosine")
        prefixed = moved.filter(model=model, metric="cosine").sort("length")
        encoder = depth.filter(model=model, part="encoder", position=0).sort("layer")
        first = "4a", "first tokens of normal prompts: distance to bare collapse keys"
        columns[model] = {
            ("2", "bare keys: gap between collapse and normal cases"): _last(
                prefixed.filter(reference="normal", length=0)["gap"]
            ),
            ("2", "mean keys: distance from collapse to normal cases"): _between(
                apart, "collapse mean", "normal mean"
            ),
            first: _between(apart, "collapse bare", "first token"),
            ("4a", "the same: distance to bare normal keys"): _between(
                apart, "first token", "normal bare"
            ),
            ("4b", "collapse cases after a prefix: gap to bare collapse keys"): _last(
                prefixed.filter(reference="collapse")["gap"]
            ),
            ("4b", "the same: gap to bare normal keys"): _last(
                prefixed.filter(reference="normal")["gap"]
            ),
            ("5", "encoder: gap between first and later tokens, last block"): _last(encoder["gap"]),
        }
    return columns


def _between(distances: pl.DataFrame, first: str, second: str) -> str:
    return _last(distances.filter(first=first, second=second)["mean"])


def _last(values: pl.Series) -> str:
    return number(real(values[-1]) if len(values) else None)
