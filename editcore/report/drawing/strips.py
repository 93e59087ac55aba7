"""The figure of perplexity after all edits of a model: a strip for each editor and data set."""

import polars as pl
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import HEIGHT, INK, MUTED, WIDTH, dots, level, marks, panel

WIDEST = 0.42  # of a unit of the x axis, to either side


def draw(study: ReportData, model: str) -> Figure:
    """Perplexity by editor, with its data sets side by side, on one logarithmic scale."""
    figure, axes = panel(f"Single edits of {model}", "", "perplexity")
    figure.set_size_inches(max(WIDTH, 0.75 * len(study.editors) + 1.2), HEIGHT + 0.3)
    made = study.made(model=model).filter(pl.col("perplexity").is_not_null())
    base = study.base(model)
    fixed = [] if base is None else [base, study.threshold(base)]
    scale = log_scale([*made["perplexity"].to_list(), *fixed])
    scale.apply(axes, "y")
    if base is not None:
        level(axes, base, f"unedited: {number(base)}", MUTED, below=True)
        threshold = study.threshold(base)
        level(axes, threshold, f"collapsed above {number(threshold)}", INK)
    width = 2 * WIDEST / max(1, len(study.datasets))
    for order, (dataset, mark) in enumerate(marks(study.datasets).items()):
        for place, editor in enumerate(study.editors):
            points = made.filter(pl.col("editor") == editor, pl.col("dataset") == dataset)
            left = place - WIDEST + width * order
            step = 0.9 * width / max(1, len(points))
            dots(
                axes,
                [left + step * i for i in range(len(points))],
                [scale.place(value) for value in points["perplexity"]],
                mark,
                size=7,
                alpha=0.7,
                label=dataset if place == 0 else None,
            )
    axes.set_xlim(-0.5, len(study.editors) - 0.5)
    axes.set_xticks(range(len(study.editors)), study.editors, rotation=25, ha="right")
    figure.legend(
        loc="outside lower center", ncols=4, frameon=False, handletextpad=0.2, markerscale=2
    )
    return figure
