"""The figure of perplexity after every edit, one point per case."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.report.data import ReportData
from editcore.report.drawing.annotate import name_points
from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import INK, MUTED, Mark, dots, level, marks, panel

BAND = 0.9  # each data set fills this share of its unit of the x axis


def draw(study: ReportData, model: str, editor: str) -> Figure:
    """Perplexity against case, data sets side by side, with the unedited model and the threshold.

    The scale is the same for all editors of a model.
    """
    figure, axes = panel(f"{editor} on {model}", "cases of each data set, by id", "perplexity")
    base = study.base(model)
    scale = _scale(study, model, base)
    scale.apply(axes, "y")
    _bands(axes, study, model, editor)
    if base is not None:
        level(axes, base, f"unedited: {number(base)}", MUTED, below=True)
        threshold = study.threshold(base)
        level(axes, threshold, f"collapsed above {number(threshold)}", INK)
    bands = []
    for position, (dataset, mark) in enumerate(marks(study.datasets).items()):
        points = placed(study.made(model=model, editor=editor, dataset=dataset), position)
        _dots(axes, points, scale, mark)
        bands.append(points)
    _names(axes, pl.concat(bands), scale)
    return figure


def placed(cases: pl.DataFrame, position: int) -> pl.DataFrame:
    """The cases with their `x`: spread evenly, by id, over the band at `position`."""
    cases = cases.filter(pl.col("perplexity").is_not_null()).sort("case_id")
    step = BAND / max(len(cases), 1)
    start = position - BAND / 2 + step / 2
    return cases.with_columns(x=start + step * pl.int_range(pl.len()))


def _scale(study: ReportData, model: str, base: float | None) -> LogScale:
    values = study.made(model=model)["perplexity"].drop_nulls().to_list()
    fixed = [] if base is None else [base, study.threshold(base)]
    return log_scale([*values, *fixed])


def _bands(axes: Axes, study: ReportData, model: str, editor: str) -> None:
    labels = []
    for dataset in study.datasets:
        count = len(study.made(model=model, editor=editor, dataset=dataset))
        labels.append(f"{dataset} ({count:,})")
    axes.set_xlim(-0.5, len(study.datasets) - 0.5)
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)


def _dots(axes: Axes, points: pl.DataFrame, scale: LogScale, mark: Mark) -> None:
    heights = [scale.place(value) for value in points["perplexity"]]
    dots(axes, points["x"].to_list(), heights, mark, size=16, alpha=0.75)


def _names(axes: Axes, points: pl.DataFrame, scale: LogScale) -> None:
    worst = points.filter(pl.col("collapsed")).sort(["perplexity", "x"], descending=[True, False])
    triples = worst.select("x", "perplexity", "subject").rows()
    drawn = points.select("x", "perplexity").rows()
    name_points(
        axes,
        [(x, scale.place(y), name) for x, y, name in triples],
        [(x, scale.place(y)) for x, y in drawn],
    )
