"""The figure of all single edits: a panel per model, a line per editor, a strip per data set."""

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import INK, MUTED, dots, legend_below, marks, panels

WIDEST = 0.42  # of a line, to either side
COLUMNS = 2
PANEL, LINE = 3.4, 0.27  # inches: the width of a panel, and the height of an editor's line
DASHED = (0, (4, 3))


def draw(study: ReportData) -> Figure:
    """The perplexity ratio of every edit; all panels share their editors and the scale."""
    made = study.made().filter(pl.col("perplexity_ratio").is_not_null())
    models = [model for model in study.models if model in made["model"]]
    editors = [editor for editor in study.editors if editor in made["editor"]]
    limits = [_limit(study, model) for model in models]
    scale = log_scale([*made["perplexity_ratio"], 1.0, *limits])
    columns = min(COLUMNS, len(models))
    figure, grid = panels(models, columns, (PANEL, LINE * len(editors) + 0.75))
    for place, (axes, model, limit) in enumerate(zip(grid, models, limits, strict=True)):
        scale.apply(axes, "x")
        axes.set_xlabel("perplexity: edited / unedited")
        axes.set_yticks(range(len(editors)), [] if place % columns else editors)
        axes.set_ylim(len(editors) - 0.5, -0.5)
        axes.axvline(1.0, color=MUTED, linewidth=0.9, label="unedited")
        axes.axvline(limit, color=INK, linewidth=0.9, linestyle=DASHED, label="collapsed beyond")
        _strips(axes, study.datasets, editors, made.filter(model=model), scale)
    handles, _ = grid[0].get_legend_handles_labels()
    legend_below(figure, handles, 4, handletextpad=0.4, markerscale=2)
    return figure


def _limit(study: ReportData, model: str) -> float:
    """The ratio above which a model has collapsed."""
    base = study.base(model)
    return study.threshold(base) / base if base else 1.0


def _strips(
    axes: Axes, datasets: Sequence[str], editors: Sequence[str], made: pl.DataFrame, scale: LogScale
) -> None:
    width = 2 * WIDEST / max(1, len(datasets))
    for order, (dataset, mark) in enumerate(marks(datasets).items()):
        across: list[float] = []
        heights: list[float] = []
        for place, editor in enumerate(editors):
            points = made.filter(editor=editor, dataset=dataset)["perplexity_ratio"]
            first, step = place - WIDEST + width * order, 0.9 * width / max(1, len(points))
            across += [scale.place(value) for value in points]
            heights += [first + step * i for i in range(len(points))]
        dots(axes, across, heights, mark, size=7, alpha=0.7, label=dataset)
