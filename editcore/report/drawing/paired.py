"""The figure of the same cases in two studies: perplexity ratio against perplexity ratio."""

import polars as pl
from matplotlib.figure import Figure

from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import MUTED, PALETTE, RULE, Mark, dots, legend_below, panel
from editcore.summary.compared.joined import STATES

OLD, NEW = "old.perplexity_ratio", "new.perplexity_ratio"
SAME = Mark(MUTED, "o")
WORSE, BETTER = (Mark(*PALETTE[place]) for place in (0, 1))
# More cases whose grade is the same are thinned out: most of them cover each other.
MOST_SAME = 1500


def draw(cases: pl.DataFrame) -> Figure:
    """Each case of both studies, coloured by whether its grade got worse, better or neither.

    `cases` are those of `editcore.summary.compared.joined.Joined`.
    """
    figure, axes = panel("Perplexity: edited / unedited", "in the first study", "in this study")
    figure.set_size_inches(4.6, 4.3)
    points = drawable(cases)
    scale = log_scale([*points[OLD], *points[NEW], 1.0])
    scale.apply(axes, "x")
    scale.apply(axes, "y")
    axes.set_aspect("equal")
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    ends = [scale.low, scale.high]
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    moved = pl.col("steps").sign()
    same = points.filter(moved == 0)
    kinds = (
        (thinned(same), SAME, "same grade", 8),
        (points.filter(moved < 0), BETTER, "better", 20),
        (points.filter(moved > 0), WORSE, "worse", 20),
    )
    for some, mark, label, size in kinds:
        if not some.is_empty():
            across, up = (_placed(scale, some[name]) for name in (OLD, NEW))
            dots(axes, across, up, mark, size=size, alpha=0.7, label=label)
    legend_below(figure, axes.get_legend_handles_labels()[0], 3, handletextpad=0.2)
    return figure


def drawable(cases: pl.DataFrame) -> pl.DataFrame:
    """The cases with both ratios, and in `steps` how many grades worse they got."""
    places = {state: place for place, state in enumerate(STATES)}
    old, new = (pl.col(f"{side}.state").replace_strict(places) for side in ("old", "new"))
    return (
        cases.select(OLD, NEW, steps=new - old)
        .drop_nulls()
        .filter(pl.all_horizontal(pl.col(OLD, NEW) > 0))
    )


def thinned(points: pl.DataFrame) -> pl.DataFrame:
    """Every n-th point, so that about `MOST_SAME` are left."""
    return points.gather_every(max(1, -(-len(points) // MOST_SAME)))


def _placed(scale: LogScale, ratios: pl.Series) -> list[float]:
    return [scale.place(ratio) for ratio in ratios]
