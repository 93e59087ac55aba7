"""Perplexity as a surrogate for ability: each task's score against it, with Spearman's ρ."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import MISSING, number
from editcore.records.schemas import CORRELATION, DOWNSTREAM
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import INK, MUTED, PALETTE, SMALL, panels
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table
from editcore.requests import OK
from editcore.summary.correlation import correlated
from editcore.summary.grade_check import FALL, HEADS, cells, compared

COLUMNS = 3
# Ticks that a small panel has room for.
FEW = 4
Row = dict[str, Any]


def section(study: ReportData) -> PageSection | None:
    """A panel for each task, a figure for each model, and the table of correlations."""
    scores = study.table("downstream", DOWNSTREAM)
    found = study.table("correlation", CORRELATION)
    if scores is None or found is None:
        return None
    drawings = tuple(
        Drawing(
            f"surrogate-model={model}",
            f"Score in each task against perplexity, for edited models of {model}.",
            lambda model=model: draw(scores, found, model),  # type: ignore[misc]
        )
        for model in study.models
        if model in scores["model"]
    )
    paragraphs = (
        "Edited models are chosen at even steps of log perplexity, so that the middle of the range "
        "is covered too, and evaluated on tasks. ρ is Spearman’s rank correlation over these "
        "models and the unedited one, with a 95 % bootstrap interval. Hollow points are the models "
        "with the highest perplexity that were not chosen for the range; ρ does not include them.",
    )
    title = "Perplexity as a surrogate for ability"
    tables = (table(found), grades(compared(study.cases, scores)))
    return PageSection("surrogate", title, paragraphs, drawings, tables)


def grades(rows: Sequence[Row]) -> Table:
    """How often a model that was graded as harmed also lost a task's score, by model."""
    caption = (
        "Grades against abilities: of the edited models that did tasks, how many were graded as "
        f"damaged or collapsed (harmed), how many lost more than {100 * FALL:.0f} points of a "
        "score in some task, and both. Recall is the share of the latter that were graded as "
        "harmed, precision the share of the harmed that lost."
    )
    return Table(caption, HEADS, cells(rows), 1)


def table(found: pl.DataFrame) -> Table:
    """ρ, its p-value and interval, and the number of models, by model and task."""
    rows = tuple(
        (
            row["model"],
            row["task"],
            row["metric"],
            _signed(row["rho"]),
            f"{_signed(row['ci_low'])} to {_signed(row['ci_high'])}",
            number(row["p_value"]),
            f"{row['n']:,}",
        )
        for row in found.iter_rows(named=True)
    )
    heads = ("model", "task", "metric", "ρ", "95 % interval", "p", "models")
    return Table("Perplexity against score.", heads, rows, 3)


def draw(scores: pl.DataFrame, found: pl.DataFrame, model: str) -> Figure:
    """Score against perplexity, for all models; the line is random guessing.

    A task that `found` has no correlation of is drawn without ρ.
    """
    scores = scores.filter(pl.col("model") == model)
    tasks = scores["task"].unique().sort().to_list()
    figure, grid = panels(tasks, min(COLUMNS, len(tasks)))
    scale = log_scale(scores["perplexity"].drop_nulls().to_list())
    for axes, task in zip(grid, tasks, strict=True):
        scale.apply(axes, "x", every=1 if len(scale.ticks()) <= FEW else 2)
        rows = scores.filter(pl.col("task") == task)
        _points(axes, rows, scale.place)
        axes.axhline(rows["random"][0], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_ylim(-0.05, 1.08)
        axes.set_ylabel(rows["metric"][0])
        for row in found.filter(model=model, task=task).iter_rows(named=True):
            axes.annotate(
                f"ρ = {_signed(row['rho'])}, n = {row['n']}",
                (0.98, 0.97),
                xycoords="axes fraction",
                ha="right",
                va="top",
                size=SMALL,
                color=INK,
            )
    figure.supxlabel("perplexity")
    figure.suptitle(f"Tasks of {model}", x=0.01, ha="left", fontweight="bold")
    return figure


def _points(axes: Axes, rows: pl.DataFrame, place: Any) -> None:
    counted = correlated(rows)
    others = rows.filter(pl.col("top"), ~pl.col("spread"), pl.col("status") == OK)
    colour, hollow = PALETTE[1][0], PALETTE[0][0]
    styles: tuple[tuple[pl.DataFrame, Row], ...] = (
        (counted, {"color": colour, "linewidths": 0.0}),
        (others, {"facecolors": "none", "edgecolors": hollow, "linewidths": 0.8}),
    )
    for frame, style in styles:
        heights = [place(value) for value in frame["perplexity"]]
        axes.scatter(heights, frame["score"].to_list(), s=14, alpha=0.8, zorder=3, **style)


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}".replace("-", "−")
