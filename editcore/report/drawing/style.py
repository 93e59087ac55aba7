"""The style of figures: a colour-blind-safe palette, a mark per data set, legible on a phone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK = "#22252b"
MUTED = "#646a75"
RULE = "#dcdfe4"
PAPER = "#fefefe"

# Okabe and Ito's palette, strongest contrast first; shapes repeat what colours show.
PALETTE = (
    ("#d55e00", "^"),
    ("#0072b2", "o"),
    ("#009e73", "s"),
    ("#cc79a7", "D"),
    ("#e69f00", "v"),
    ("#56b4e9", "P"),
)
WIDTH, HEIGHT = 4.3, 3.3  # inches; at 72 points each, a phone shows 9-point type at 10 pixels
TYPE, SMALL = 9.0, 7.5


@dataclass(frozen=True)
class Mark:
    """How one data set's cases, or one editor's lines, are drawn."""

    colour: str
    marker: str
    line: Literal["-", "--"] = "-"


def marks(datasets: Sequence[str]) -> dict[str, Mark]:
    """A mark for each name, in their order; from the seventh on they repeat, with dashed lines."""
    several = len(PALETTE)
    return {
        name: Mark(*PALETTE[i % several], "-" if i < several else "--")
        for i, name in enumerate(datasets)
    }


def editor_legend(figure: Figure, editors: Mapping[str, Mark], columns: int) -> None:
    """Below the panels, each editor with its colour and shape."""
    handles = [
        Line2D(
            [],
            [],
            color=mark.colour,
            marker=mark.marker,
            markersize=4,
            linestyle=mark.line,
            label=editor,
        )
        for editor, mark in editors.items()
    ]
    legend_below(figure, handles, columns)


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int, **looks: Any) -> None:
    """A legend below the panels, in as many columns as there is room for, up to `columns`.

    With fewer columns it is taller, and the figure grows by as much, so that panels keep their
    size.
    """
    heights: list[float] = []
    for ncols in range(columns, 0, -1):
        legend = figure.legend(
            handles=handles, loc="outside lower center", ncols=ncols, frameon=False, **looks
        )
        extent = legend.get_window_extent()
        heights.append(extent.height)
        if ncols == 1 or extent.width <= figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + (heights[-1] - heights[0]) / figure.dpi)


def dots(
    axes: Axes,
    across: Sequence[float],
    up: Sequence[float],
    mark: Mark,
    *,
    size: float,
    alpha: float,
    label: str | None = None,
    zorder: float = 3,
) -> None:
    """Points in a mark's colour and shape, seen whole at the edges; `size` is in points squared."""
    axes.scatter(
        across,
        up,
        s=size,
        marker=mark.marker,
        color=mark.colour,
        alpha=alpha,
        linewidths=0,
        label=label,
        clip_on=False,
        zorder=zorder,
    )


@contextmanager
def drawing() -> Iterator[None]:
    """Settings for making and saving figures: text remains text, and output is reproducible."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "editcore",
        "font.family": ["DejaVu Sans"],
        "font.size": TYPE,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "savefig.facecolor": PAPER,
        "text.parse_math": False,
    }
    with mpl.rc_context(settings):
        yield


def panel(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """An empty figure of one panel."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=TYPE + 1, fontweight="bold")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def panels(
    titles: Sequence[str], columns: int, size: tuple[float, float] = (0.55 * WIDTH, 0.6 * HEIGHT)
) -> tuple[Figure, list[Axes]]:
    """An empty figure of several panels of `size` inches, `columns` side by side."""
    rows = -(-len(titles) // columns)
    width, height = size
    figure = Figure(figsize=(width * columns, height * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(titles) :]:
        axes.set_axis_off()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title, loc="left", fontsize=TYPE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, list(grid[: len(titles)])


def level(axes: Axes, height: float, text: str, colour: str, *, below: bool = False) -> None:
    """A dashed line across the panel, labelled at its right end, above or below it."""
    axes.axhline(height, color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        text,
        (1, height),
        (0, -3 if below else 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        size=SMALL,
        color=INK,
    )
