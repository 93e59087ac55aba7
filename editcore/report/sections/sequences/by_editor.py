"""The figures of perplexity for many editors: a small panel for each, with one scale."""

from functools import partial
from math import ceil

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import INK, PALETTE, RULE, SMALL, level
from editcore.report.section import Drawing
from editcore.report.sections.sequences.rows import DRAWN, batches, present

PANEL, ACROSS = (2.3, 1.5), 3  # inches, and panels in a line
COLOUR = PALETTE[1][0]
SHOWN = (
    "The small panels show the perplexity of each editor’s models, a line for each seed and data "
    "set, with the smallest number of facts per step; a cross is where a model was found to have "
    "collapsed."
)


def drawings(study: ReportData, rows: pl.DataFrame) -> list[Drawing]:
    """A figure per model."""
    drawn = rows.filter(arrangement=DRAWN, batch=batches(rows)[0])
    return [
        Drawing(
            f"sequences-perplexity-model={model}",
            f"Perplexity of {model} against the number of sequential edits, a panel per editor.",
            partial(draw, study, drawn.filter(model=model)),
        )
        for model in present(study, drawn, "model")
    ]


def draw(study: ReportData, rows: pl.DataFrame) -> Figure:
    """A panel for each editor."""
    measured = rows.filter(pl.col("perplexity").is_not_null())
    threshold = study.threshold(measured["perplexity_base"][0])
    scale = log_scale([*measured["perplexity"], threshold])
    editors = present(study, measured, "editor")
    lines = ceil(len(editors) / ACROSS)
    figure = Figure(figsize=(PANEL[0] * ACROSS, PANEL[1] * lines + 0.2), layout="constrained")
    grid = figure.subplots(lines, ACROSS, squeeze=False, sharex=True, sharey=True)
    for editor, axes in zip(editors, grid.flat, strict=False):
        _panel(axes, measured.filter(editor=editor), scale)
        axes.set_title(editor, loc="left", fontsize=SMALL, fontweight="bold")
        level(axes, threshold, f"collapsed above {number(threshold)}", INK)
    for axes in [*grid.flat][len(editors) :]:
        axes.set_visible(False)
    for axes in [*grid.flat][max(0, len(editors) - ACROSS) : len(editors)]:
        axes.set_xlabel("edits so far", fontsize=SMALL)
        axes.xaxis.set_tick_params(labelbottom=True)
    for line in grid:
        line[0].set_ylabel("perplexity", fontsize=SMALL)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, scale: LogScale) -> None:
    scale.apply(axes, "y")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.tick_params(labelsize=SMALL)
    for _, stream in rows.group_by("dataset", "order", maintain_order=True):
        points = stream.sort("edits")
        up = [scale.place(value) for value in points["perplexity"]]
        axes.plot(points["edits"], up, color=COLOUR, linewidth=1.0, alpha=0.8)
        if points["collapsed"].any() and (first := points["collapsed"].arg_max()) is not None:
            axes.plot(points["edits"][first], up[first], marker="x", markersize=4, color=INK)
