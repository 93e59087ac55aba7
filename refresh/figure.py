"""The README's figure: perplexity against denominator for the same hard facts by two editors."""

import polars as pl
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.report.data import ReportData
from editcore.report.drawing.denominator import drawable
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import (
    INK,
    PALETTE,
    Mark,
    dots,
    legend_below,
    level,
    panels,
)
from refresh.claims import EARLY, EDITOR, HARD, REMEDY

LEGEND = 5.8  # inches that the legend takes
SERIES = (
    (EDITOR, HARD, "ROME, hard facts", PALETTE[0]),
    (EDITOR, EARLY, "ROME, early facts", PALETTE[3]),
    (EDITOR, "late", "ROME, late facts", PALETTE[1]),
    (EDITOR, "normal", "ROME, normal facts", PALETTE[1]),
    (REMEDY, HARD, "C-ROME, the same hard facts", PALETTE[2]),
)


def draw(study: ReportData) -> Figure:
    """A panel for each model, both axes logarithmic."""
    series = [each for each in SERIES if each[1] in study.datasets]
    figure, grid = panels(study.models, max(1, len(study.models)))
    figure.set_size_inches(max(LEGEND, 3.7 * len(study.models)), 3.1)
    for axes, model in zip(grid, study.models, strict=True):
        chosen = pl.col("editor").is_in([EDITOR, REMEDY])
        cases = drawable(study.made(model=model)).filter(chosen)
        across = log_scale(cases["denominator"])
        base = study.base(model) or 1.0
        threshold = round(study.threshold(base) / base, 3)
        up = log_scale([*cases["perplexity_ratio"], 1.0, threshold])
        across.apply(axes, "x")
        up.apply(axes, "y")
        level(axes, threshold, f"collapsed above ×{number(threshold)}", INK)
        for editor, dataset, label, look in series:
            points = cases.filter(editor=editor, dataset=dataset)
            dots(
                axes,
                points["denominator"].to_list(),
                [up.place(value) for value in points["perplexity_ratio"]],
                Mark(*look),
                size=16,
                alpha=0.6,
                label=label if axes is grid[0] else None,
            )
        axes.set_xlabel("|denominator| of the update")
    grid[0].set_ylabel("perplexity: edited / unedited")
    legend_below(figure, grid[0].get_legend_handles_labels()[0], 3, handletextpad=0.2)
    return figure
