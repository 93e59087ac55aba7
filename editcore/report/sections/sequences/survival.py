"""The figure of survival: how many edits of a sequence still hold after the edits that followed."""

import json
from collections import defaultdict
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.report.data import ReportData
from editcore.report.drawing.style import RULE, SMALL, TYPE, Mark, editor_legend, marks
from editcore.report.section import Drawing
from editcore.report.sections.sequences.rows import places, present

PANEL = (3.7, 1.8)  # inches
# The cohorts of age, in edits made after a fact's own; the last has no upper end.
AGES = (0, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000)
FEWEST = 50  # edits in a sequence, below which there are no curves to speak of
SHOWN = (
    "Survival is the mean efficacy of facts by their age, the number of edits made after their "
    "own, each time that the facts were asked; with several seeds, the line is their mean, and the "
    "band shows their range."
)


def drawing(study: ReportData, rows: pl.DataFrame) -> Drawing | None:
    """The figure; None if no sequence has enough edits and was asked about them."""
    asked = rows.filter(pl.col("efficacy_by_fact").is_not_null())
    if asked.is_empty() or (asked["edits"].max() or 0) < FEWEST:  # type: ignore[operator]
        return None
    words = "Share of edits that still hold against the number of edits made after them, by editor."
    return Drawing("sequences-survival", words, partial(draw, study, asked))


def draw(study: ReportData, rows: pl.DataFrame) -> Figure:
    """A panel per model (down) and data set (across)."""
    models, across = present(study, rows, "model"), places(study, rows)
    editors = marks(present(study, rows, "editor"))
    size = PANEL[0] * len(across), PANEL[1] * len(models) + 0.35
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(models), len(across), squeeze=False, sharex=True, sharey=True)
    for model, line in zip(models, grid, strict=True):
        for (name, some), axes in zip(across.items(), line, strict=True):
            _panel(axes, some.filter(model=model), editors)
            axes.set_title(f"{model}, {name}", loc="left", fontsize=TYPE, fontweight="bold")
        line[0].set_ylabel("efficacy")
    for axes in grid[-1]:
        axes.set_xlabel("edits made after the fact’s own, from")
    editor_legend(figure, editors, columns=3 * len(across))
    return figure


def by_age(rows: pl.DataFrame) -> dict[int, dict[int, float]]:
    """By seed, the mean efficacy of the facts in each cohort of age, by its lower end."""
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed, edits, facts in rows.select("order", "edits", "efficacy_by_fact").iter_rows():
        for place, efficacy in enumerate(json.loads(facts)):
            if efficacy is not None:
                found[seed][cohort(edits - place - 1)].append(efficacy)
    return {
        seed: {age: sum(some) / len(some) for age, some in sorted(ages.items())}
        for seed, ages in found.items()
    }


def cohort(age: int) -> int:
    """The lower end of the cohort that an age belongs to.

    >>> cohort(0), cohort(7), cohort(90_000)
    (0, 5, 5000)
    """
    return max(least for least in AGES if least <= age)


def _panel(axes: Axes, rows: pl.DataFrame, editors: dict[str, Mark]) -> None:
    reached = rows["edits"].max() or 0
    ends = [age for age in AGES if age < reached]  # type: ignore[operator]
    axes.set_xticks(range(len(ends)), [f"{age:,}" for age in ends], fontsize=SMALL)
    axes.set_ylim(-0.03, 1.03)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    for editor, mark in editors.items():
        seeds = by_age(rows.filter(editor=editor)).values()
        ages = sorted({age for each in seeds for age in each})
        heights = [[each[age] for each in seeds if age in each] for age in ages]
        means = [sum(some) / len(some) for some in heights]
        at = [AGES.index(age) for age in ages]
        axes.plot(
            at,
            means,
            color=mark.colour,
            marker=mark.marker,
            linestyle=mark.line,
            markersize=3.5,
            linewidth=1.3,
        )
        if len(seeds) > 1:
            low, high = [min(some) for some in heights], [max(some) for some in heights]
            axes.fill_between(at, low, high, color=mark.colour, alpha=0.18, linewidth=0)
