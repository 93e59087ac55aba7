"""Perplexity as a surrogate for ability: task scores against it, with Spearman's ρ."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import MISSING, listed, number, plural, real, share
from editcore.records.schemas import CORRELATION, DOWNSTREAM
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import INK, MUTED, Mark, editor_legend, level, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part
from editcore.report.tables import Table
from editcore.requests import OK
from editcore.summary.correlation import correlated
from editcore.summary.grade_check import FALL, compared

COLUMNS = 2
PANEL = (3.4, 1.9)  # inches
# The share of a task's score above guessing that is left; a task guessed as well unedited has none.
LEFT = (pl.col("score") - pl.col("random")) / (pl.col("unedited") - pl.col("random"))
Row = Mapping[str, Any]


def section(study: ReportData) -> PageSection | None:
    """A panel for each model, the table of tasks, and that of grades; None without tasks."""
    scores = study.table("downstream", DOWNSTREAM)
    found = study.table("correlation", CORRELATION)
    if scores is None or found is None:
        return None
    return PageSection(
        anchor="surrogate",
        title="Perplexity as a surrogate for ability",
        part=Part.TASKS,
        point=point(study, found),
        paragraphs=(
            "Edited models are chosen at even steps of log perplexity, so that the middle of the "
            "range is covered too, and evaluated on tasks. ρ is Spearman’s rank correlation over "
            "these models and the unedited one, with a 95 % bootstrap interval. Hollow points are "
            "the models with the highest perplexity that were not chosen for the range; ρ does "
            "not include them.",
            " ".join(grades(compared(study.cases, scores))),
        ),
        drawings=(
            Drawing(
                "surrogate",
                "Share of the unedited model’s score in each task that is left, from guessing (0) "
                "to unedited (1), against perplexity, with a panel for each model.",
                partial(draw, study, scores),
            ),
        ),
        tables=(table(scores, found),),
    )


def point(study: ReportData, found: pl.DataFrame) -> str:
    """The range of ρ over the tasks of each model."""
    known = found.filter(pl.col("rho").is_not_null())
    parts = [
        f"{_range(some['rho'])} over {plural(len(some), 'task')} of {model}"
        for model in study.models
        if not (some := known.filter(model=model)).is_empty()
    ]
    if not parts:
        return "Too few edited models have scores in tasks to relate them to perplexity."
    falls = all(rho < 0 for rho in known["rho"])
    start = (
        "The higher its perplexity, the lower an edited model’s scores in tasks"
        if falls
        else "Scores in tasks do not always fall as perplexity rises"
    )
    return f"{start}: Spearman’s ρ is {listed(parts, MOST_NAMED)}."


def _range(values: pl.Series) -> str:
    low, high = (_signed(real(value)) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def grades(rows: Sequence[Row]) -> Iterator[str]:
    r"""How often a model that was graded as harmed also lost a task's score, by model.

    >>> row = {"model": "small", "n": 9, "harmed": 4, "fell": 3, "both": 2}
    >>> print(next(grades([row])).replace("harmed, ", "harmed,\n"))
    Of 9 edited models of small, 4 were graded as harmed,
    3 lost more than 10 points in a task, 2 both.
    """
    for row in rows:
        yield (
            f"Of {plural(row['n'], 'edited model')} of {row['model']}, {row['harmed']:,} were "
            f"graded as harmed, {row['fell']:,} lost more than {100 * FALL:.0f} points in a task, "
            f"{row['both']:,} both."
        )


def table(scores: pl.DataFrame, found: pl.DataFrame) -> Table:
    """By model and task: scores of the unedited and the worst models, and ρ with its interval."""
    heads = (
        *("model", "task", "metric", "items", "guessing", "unedited"),
        *("worst: mean", "s.d.", "models", "not finite"),
        *("ρ", "95 % interval", "p", "models"),
    )
    caption = (
        "Scores by task, and their correlation with perplexity. “Worst” are the models with the "
        "highest perplexity; all scores are in summary/downstream.parquet."
    )
    return Table(caption, heads, tuple(_rows(scores, found)), 3)


def _rows(scores: pl.DataFrame, found: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    groups = scores.sort("model", "task").group_by("model", "task", maintain_order=True)
    for (model, task), frame in groups:
        unedited = frame.filter(pl.col("case_id").is_null()).row(0, named=True)
        worst = frame.filter("top")
        scored = worst.filter(status=OK)["score"]
        yield (
            *(str(model), str(task), unedited["metric"], f"{unedited['n_items']:,}"),
            *(share(unedited["random"]), share(unedited["score"])),
            *(share(real(scored.mean())), share(real(scored.std()))),
            *(f"{len(scored):,}", f"{len(worst) - len(scored):,}"),
            *_correlation(found.filter(model=model, task=task)),
        )


def _correlation(rows: pl.DataFrame) -> tuple[str, ...]:
    if rows.is_empty():
        return (MISSING,) * 4
    row = rows.row(0, named=True)
    interval = f"{_signed(row['ci_low'])} to {_signed(row['ci_high'])}"
    return _signed(row["rho"]), interval, number(row["p_value"]), f"{row['n']:,}"


def left(scores: pl.DataFrame) -> pl.DataFrame:
    """The rows with a score, and the share of the unedited model's score above guessing `left`."""
    unedited = scores.filter(pl.col("case_id").is_null())
    was = unedited.select("model", "task", unedited="score")
    found = scores.filter(status=OK).join(was, on=["model", "task"], maintain_order="left")
    above = found.filter(pl.col("unedited") > pl.col("random"), pl.col("score").is_not_null())
    return above.with_columns(left=LEFT)


def draw(study: ReportData, scores: pl.DataFrame) -> Figure:
    """The share of each score that is left against perplexity; all panels share their axes."""
    shown = left(scores).filter(pl.col("perplexity").is_not_null())
    models = [model for model in study.models if model in scores["model"]]
    tasks = marks(scores["task"].unique().sort().to_list())
    figure, grid = panels(models, min(COLUMNS, len(models)), PANEL)
    scale = log_scale(shown["perplexity"].to_list())
    ends = [*shown["left"], 0.0, 1.0]
    for axes, model in zip(grid, models, strict=True):
        scale.apply(axes, "x")
        axes.set_xlabel("perplexity of the edited model")
        axes.set_ylim(min(ends) - 0.08, max(ends) + 0.12)
        level(axes, 1.0, "unedited", MUTED)
        level(axes, 0.0, "guessing", INK, below=True)
        for task, mark in tasks.items():
            _points(axes, shown.filter(model=model, task=task), mark, scale)
    grid[0].set_ylabel("share of the score left")
    editor_legend(figure, tasks, 3)
    return figure


def _points(axes: Axes, rows: pl.DataFrame, mark: Mark, scale: LogScale) -> None:
    others = rows.filter(pl.col("top"), ~pl.col("spread"))
    for frame, filled in ((correlated(rows), True), (others, False)):
        axes.scatter(
            [scale.place(value) for value in frame["perplexity"]],
            frame["left"].to_list(),
            s=14,
            marker=mark.marker,
            color=mark.colour if filled else "none",
            edgecolors=mark.colour,
            linewidths=0.0 if filled else 0.8,
            alpha=0.8,
            zorder=3,
            clip_on=False,
        )


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}".replace("-", "−")
