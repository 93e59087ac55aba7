"""The size of weight changes: against perplexity over all edits, and by position in a matrix."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import listed, number, real
from editcore.records.mechanism_schemas import WEIGHTS
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import SMALL, dots, editor_legend, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part

RELATIVE = pl.col("delta_norm") / pl.col("weight_norm")
COLUMNS = 2
PANEL, MATRIX = (3.4, 2.2), (2.6, 2.1)  # inches


def section(study: ReportData) -> PageSection | None:
    """The size of every change against perplexity, and two changed matrices if they are stored."""
    found = sizes(study)
    if found.is_empty():
        return None
    drawings = [
        Drawing(
            "change",
            "Perplexity against the size of the weight change, relative to the weights, by editor, "
            "with a panel for each model.",
            partial(draw_sizes, study, found),
        )
    ]
    paragraphs = [
        "Each point is one edit: the norm of the change divided by that of the weights that it "
        "changes. Both scales are logarithmic. The numbers are in summary/cases.parquet."
    ]
    maps = study.table("weight_change", WEIGHTS)
    if maps is not None and not maps.is_empty():
        drawings.append(
            Drawing(
                "matrices",
                "Absolute change of one matrix of each model: a collapsed edit and one that left "
                "the model whole.",
                partial(draw_maps, study, maps),
            )
        )
        paragraphs.append(
            "Matrices are divided into blocks; a block’s colour shows its largest number, on one "
            "scale for each model."
        )
    return PageSection(
        anchor="weight-change",
        title="Weight changes",
        part=Part.MECHANISM,
        point=point(study, found),
        paragraphs=tuple(paragraphs),
        drawings=tuple(drawings),
    )


def point(study: ReportData, found: pl.DataFrame) -> str:
    """The median relative size of changes that collapsed each model, and of the others."""
    parts, whole = [], []
    for model in study.models:
        edits = found.filter(model=model)
        gone = edits.filter(pl.col("collapsed"))["relative"].median()
        rest = edits.filter(~pl.col("collapsed"))["relative"].median()
        if gone is not None:
            others = "" if rest is None else f" (other edits: {number(real(rest))})"
            parts.append(f"{number(real(gone))} on {model}{others}")
        elif rest is not None:
            whole.append(f"{number(real(rest))} on {model}")
    size = "relative to the weights, the median size of"
    if parts:
        shown = listed(parts, MOST_NAMED)
        return f"{size.capitalize()} a change that collapsed the model is {shown}."
    return f"No weight change collapsed a model; {size} a change is {listed(whole, MOST_NAMED)}."


def sizes(study: ReportData) -> pl.DataFrame:
    """The judged edits that changed weights, with the `relative` size of the change."""
    made = (
        study.made().with_columns(relative=RELATIVE).drop_nulls(["collapsed", "perplexity_ratio"])
    )
    return made.filter(pl.col("relative") > 0)


def draw_sizes(study: ReportData, found: pl.DataFrame) -> Figure:
    """Perplexity against the relative size of the change; all panels share their axes."""
    models = [model for model in study.models if model in found["model"]]
    editors = {name: m for name, m in marks(study.editors).items() if name in found["editor"]}
    figure, grid = panels(models, min(COLUMNS, len(models)), PANEL)
    across, up = log_scale(found["relative"]), log_scale(found["perplexity_ratio"])
    for axes, model in zip(grid, models, strict=True):
        across.apply(axes, "x")
        up.apply(axes, "y")
        axes.set_xlabel("size of the change: ‖Δ‖ / ‖W‖")
        for editor, mark in editors.items():
            points = found.filter(model=model, editor=editor)
            dots(
                axes,
                [across.place(value) for value in points["relative"]],
                [up.place(value) for value in points["perplexity_ratio"]],
                mark,
                size=11,
                alpha=0.65,
            )
    grid[0].set_ylabel("perplexity: edited / unedited")
    editor_legend(figure, editors, 5)
    return figure


def draw_maps(study: ReportData, maps: pl.DataFrame) -> Figure:
    """Maps of the absolute change, a model in each line, the collapsed edit first."""
    models = [model for model in study.models if model in maps["model"]]
    width, height = MATRIX
    figure = Figure(figsize=(2 * width, height * len(models) + 0.3), layout="constrained")
    grid = figure.subplots(len(models), 2, squeeze=False)
    for model, line in zip(models, grid, strict=True):
        _maps(figure, line, maps.filter(model=model))
    return figure


def _maps(figure: Figure, line: Sequence[Axes], maps: pl.DataFrame) -> None:
    """One model's two matrices, on the same scale of colours."""
    highest = real(maps["change"].max())
    drawn = []
    for axes, collapsed in zip(line, (True, False), strict=True):
        frame = maps.filter(collapsed=collapsed)
        if frame.is_empty():
            axes.set_visible(False)
            continue
        row = frame.row(0, named=True)
        outcome = "collapsed" if collapsed else "not collapsed"
        title = f"{row['model']}, {outcome}\nperplexity {number(row['perplexity'])}"
        axes.set_title(title, loc="left", fontsize=SMALL, fontweight="bold")
        axes.set_xlabel(row["parameter"], fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        picture = axes.imshow(
            _matrix(frame),
            vmin=0,
            vmax=highest,
            cmap="cividis",
            aspect="auto",
            extent=(0, row["d_in"], row["d_out"], 0),
            interpolation="nearest",
        )
        drawn.append(picture)
    figure.colorbar(drawn[0], ax=list(line), label="|ΔW|")


def _matrix(frame: pl.DataFrame) -> np.ndarray:
    """The blocks as a matrix."""
    ordered = frame.sort("row", "column")["change"].to_numpy()
    return ordered.reshape(frame["row"].n_unique(), -1)
