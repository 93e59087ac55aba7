"""The figure of perplexity against the denominator of the update."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.report.data import ReportData
from editcore.report.drawing.annotate import name_points
from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import INK, MUTED, dots, legend_below, level, marks, panel


def draw(study: ReportData, model: str, editor: str) -> Figure:
    """Perplexity ratio against the absolute denominator, both logarithmic, one point per case.

    Scales are the same for all editors of a model; cases with a denominator of zero are not shown.
    """
    figure, axes = panel(
        f"{editor} on {model}", "|denominator| of the update", "perplexity: edited / unedited"
    )
    cases = drawable(study.made(model=model, editor=editor))
    if cases.is_empty():
        _nothing(axes, f"{editor} reports no denominator")
        return figure
    across, up = _scales(study, model)
    across.apply(axes, "x")
    up.apply(axes, "y")
    _reference(axes, study, model)
    for depth, (dataset, mark) in enumerate(marks(study.datasets).items()):
        points = cases.filter(pl.col("dataset") == dataset)
        heights = [up.place(value) for value in points["perplexity_ratio"]]
        dots(
            axes,
            points["denominator"].to_list(),
            heights,
            mark,
            size=18,
            alpha=0.75,
            label=dataset,
            zorder=4 - 0.1 * depth,  # the config's first data set is drawn on top
        )
    legend_below(figure, axes.get_legend_handles_labels()[0], 3, handletextpad=0.2)
    _names(axes, cases, up)
    return figure


def drawable(cases: pl.DataFrame) -> pl.DataFrame:
    """The cases with a positive denominator and a measured perplexity."""
    return cases.filter(
        (pl.col("denominator") > 0)
        & pl.col("denominator").is_finite()
        & pl.col("perplexity_ratio").is_not_null()
    )


def _scales(study: ReportData, model: str) -> tuple[LogScale, LogScale]:
    cases = drawable(study.made(model=model))
    ratios = cases["perplexity_ratio"].to_list()
    return log_scale(cases["denominator"]), log_scale([*ratios, 1.0, _threshold(study, model)])


def _threshold(study: ReportData, model: str) -> float:
    base = study.base(model)
    return 1.0 if base is None else study.threshold(base) / base


def _reference(axes: Axes, study: ReportData, model: str) -> None:
    threshold = _threshold(study, model)
    level(axes, 1.0, "unedited", MUTED, below=True)
    level(axes, threshold, f"collapsed above ×{number(threshold)}", INK)


def _names(axes: Axes, cases: pl.DataFrame, up: LogScale) -> None:
    worst = cases.filter(pl.col("collapsed")).sort(
        ["perplexity_ratio", "case_id"], descending=[True, False]
    )
    triples = worst.select("denominator", "perplexity_ratio", "subject").rows()
    drawn = cases.select("denominator", "perplexity_ratio").rows()
    name_points(
        axes,
        [(x, up.place(y), name) for x, y, name in triples],
        [(x, up.place(y)) for x, y in drawn],
    )


def _nothing(axes: Axes, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=axes.transAxes)
