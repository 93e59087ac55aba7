"""The papers' figures, redrawn from digitised points, to be shown next to ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from editcore.numbers import number
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import (
    INK,
    MUTED,
    PALETTE,
    SMALL,
    Mark,
    level,
    marks,
    panel,
    panels,
)
from editcore.report.papers.published import COLLAPSED, content, curves
from editcore.report.section import Drawing

FEW = 8  # markers per line, so that lines can be distinguished without colour
READ = "Published, read from the points of figures"


def pilot() -> list[Drawing]:
    """Every single edit of one model, and the ranges by editor for three models."""
    return [
        Drawing("published-pilot", f"{READ}: all single edits of GPT-J.", _pilot),
        Drawing("published-single", f"{READ}: perplexity after single edits.", _single),
    ]


def surrogate() -> list[Drawing]:
    """Task scores over models of rising perplexity."""
    return [Drawing("published-surrogate", f"{READ}: scores by perplexity.", _surrogate)]


def sequences() -> list[Drawing]:
    """Perplexity over sequential edits."""
    words = f"{READ}: perplexity over sequential edits."
    return [Drawing("published-sequences", words, _sequences)]


def _pilot() -> Figure:
    found = curves("pilot")
    figure, axes = panel(
        f"Published: all {found['edits']:,} edits of {found['model']}", "case", "perplexity"
    )
    places, heights = zip(*found["points"], strict=True)
    low, high = found["others"]
    log_scale([*heights, low]).apply(axes, "y")
    above = [i for i, height in enumerate(heights) if height > COLLAPSED]
    below = [i for i in range(len(heights)) if i not in set(above)]
    for some, (colour, marker) in ((above, PALETTE[0]), (below, PALETTE[1])):
        axes.scatter(
            [places[i] for i in some],
            [heights[i] for i in some],
            s=14,
            marker=marker,
            color=colour,
            alpha=0.75,
            linewidths=0,
        )
    axes.axhspan(low, high, color=PALETTE[1][0], alpha=0.75, linewidth=0)
    rest = found["edits"] - len(heights)
    axes.annotate(
        f"{rest:,} others: {number(low)} to {number(high)}",
        (0.02, high),
        (0, 4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        size=SMALL,
        color=INK,
    )
    level(axes, COLLAPSED, f"collapsed above {number(COLLAPSED)}", INK)
    return figure


def _single() -> Figure:
    found = curves("single")
    figure, axes = panel("Published: single edits, by editor", "", "perplexity")
    editors = list(next(iter(found.values())))
    values = [value for of in found.values() for pair in of.values() for value in pair if value]
    log_scale(values).apply(axes, "y")
    for order, (model, mark) in enumerate(marks(list(found)).items()):
        across = [place + 0.22 * (order - 1) for place in range(len(editors))]
        pairs = [found[model][editor] for editor in editors]
        # For one editor only the maximum was published: its line begins where the others' do.
        least = min(low for low, _ in pairs if low)
        axes.vlines(across, [low or least for low, _ in pairs], [high for _, high in pairs])
        axes.collections[-1].set(color=mark.colour, linewidth=1.4)
        axes.plot(
            across,
            [high for _, high in pairs],
            color=mark.colour,
            marker=mark.marker,
            markersize=4.5,
            linestyle="none",
            label=model,
        )
    level(axes, COLLAPSED, f"collapsed above {number(COLLAPSED)}", INK)
    axes.set_xlim(-0.5, len(editors) - 0.5)
    axes.set_xticks(range(len(editors)), editors)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, handletextpad=0.2)
    return figure


def _surrogate() -> Figure:
    found = curves("surrogate")
    models = list(found["scores"])
    figure, grid = panels(models, len(models))
    tasks = marks(list(found["scores"][models[-1]]))
    for axes, model in zip(grid, models, strict=True):
        for task, scores in found["scores"][model].items():
            axes.plot(
                range(len(scores)),
                scores,
                color=tasks[task].colour,
                marker=tasks[task].marker,
                markersize=3.5,
                markevery=max(1, len(scores) // FEW),
                linewidth=1.2,
            )
        labels = [number(value) for value in found["ticks"][model]]
        axes.set_xticks([found["every"] * i for i in range(len(labels))], labels, rotation=45)
        axes.set_ylim(-0.03, 0.85)
    grid[0].set_ylabel("score")
    grid[len(models) // 2].set_xlabel("perplexity of the edited model")
    figure.suptitle("Published: tasks", x=0.01, ha="left", fontweight="bold")
    _legend(figure, {task: (mark.colour, mark.marker) for task, mark in tasks.items()}, 6)
    return figure


def _sequences() -> Figure:
    found = curves("sequences")
    sequences = found["perplexity"]
    titles = [f"{model}, {cases}" for model in sequences for cases in ("hard", "normal")]
    figure, grid = panels(titles, 2)
    editors = {
        name: of for name, of in _editors().items() if name in next(iter(sequences.values()))
    }
    for place, of_model in enumerate(sequences.values()):
        everything = [
            v for sequence in of_model.values() for some in sequence.values() for v in some
        ]
        scale = log_scale(everything)
        for axes, cases in zip(grid[2 * place : 2 * place + 2], ("hard", "normal"), strict=True):
            scale.apply(axes, "y")
            level(axes, COLLAPSED, "", MUTED)
            for editor, mark in editors.items():
                _line(axes, of_model[editor][cases], found["step"], (mark.colour, mark.marker))
        grid[2 * place].set_ylabel("perplexity")
    for axes in grid[-2:]:
        axes.set_xlabel("edits so far")
    figure.suptitle("Published: sequential edits", x=0.01, ha="left", fontweight="bold")
    _legend(figure, {name: (mark.colour, mark.marker) for name, mark in editors.items()}, 4)
    return figure


def _editors() -> dict[str, Mark]:
    """The colours of a study that has the papers' editors in this order."""
    return marks(list(content()["editors"]))


def _line(axes: Axes, heights: Sequence[float], step: int, mark: tuple[str, str]) -> None:
    axes.plot(
        [step * i for i in range(len(heights))],
        heights,
        color=mark[0],
        marker=mark[1],
        markersize=3.5,
        markevery=max(1, len(heights) // FEW),
        linewidth=1.2,
    )


def _legend(figure: Figure, names: Mapping[str, tuple[Any, Any]], columns: int) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=name)
        for name, (colour, marker) in names.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
