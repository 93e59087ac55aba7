"""The section on where keys are: gaps between them, by prefix and layer, and projections."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import listed, number, plural
from editcore.records.mechanism_schemas import COLLAPSE, DEPTH, DISTANCES, MOVED, NORMAL, POINTS
from editcore.report.data import ReportData
from editcore.report.drawing.style import SMALL, Mark, dots, legend_below, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part

PANELS = {
    "directions": "directions",
    "keys": "mean keys",
    "first": "first tokens",
    "encoder": "encoder",
}
COLUMNS = 2  # of panels of gaps
METHODS = {"pca": "principal components", "t-sne": "t-SNE"}
CLOUD, GAP = (1.9, 1.9), (3.4, 1.6)  # inches, of a panel
COSINE = "cosine"
BARE = tuple(f"{cases} bare" for cases in (COLLAPSE, NORMAL))


def section(study: ReportData) -> PageSection | None:
    """Where keys are relative to each other."""
    points = study.table("mechanism-points", POINTS)
    distances = study.table("mechanism-distances", DISTANCES)
    moved = study.table("mechanism-moved", MOVED)
    depth = study.table("mechanism-depth", DEPTH)
    if points is None or distances is None or moved is None or depth is None:
        return None
    gaps = Drawing(
        "keys",
        "The gap between keys: of collapse cases after prefixes to both sets of bare keys, and of "
        "the first position to later ones by layer, with a line of panels for each model.",
        partial(draw_gaps, study, moved, depth),
    )
    clouds = [
        Drawing(
            f"keys-{method}",
            f"Projections of keys by {METHODS[method]}: directions C⁻¹k̄ and bare keys of unit "
            "length; mean and bare keys; first tokens’ keys and collapse cases after a prefix; "
            "tokens of the encoder’s last block.",
            partial(draw_clouds, study, points.filter(method=method)),
        )
        for method in METHODS
        if method in points["method"]
    ]
    return PageSection(
        anchor="keys",
        title="Where the keys are",
        part=Part.MECHANISM,
        point=point(study, distances, moved),
        paragraphs=(
            "The gap between two clouds is twice the mean distance between them minus the mean "
            "distances within each (an energy distance, here of one minus the cosine). It is about "
            "zero if both have the same distribution, however wide. Bare keys are those of the "
            "prompt alone, mean keys are averaged over the prefixes. Gaps are measured in the "
            "original space; projections can mislead. Distances between all sets, also the "
            "Mahalanobis distance under C, with intervals by bootstrap, are in "
            "summary/mechanism-distances.parquet, mechanism-moved.parquet and "
            "mechanism-depth.parquet.",
        ),
        drawings=(gaps, *clouds),
    )


def point(study: ReportData, distances: pl.DataFrame, moved: pl.DataFrame) -> str:
    """The gap between collapse and normal cases' bare keys, and what a prefix leaves of it."""
    parts = []
    for model in study.models:
        apart = gap(distances.filter(model=model, metric=COSINE))
        after = moved.filter(model=model, metric=COSINE, reference=NORMAL).drop_nulls("gap")
        longest = after.filter(pl.col("length") > 0).sort("length")
        if apart is None:
            continue
        then = ""
        if not longest.is_empty():
            last = longest.row(-1, named=True)
            prefix = plural(last["length"], "token")
            then = f" ({number(last['gap'])} after a prefix of {prefix})"
        parts.append(f"{number(apart)} on {model}{then}")
    if not parts:
        return "There are too few keys to compare those of collapse cases with normal ones."
    return (
        "The gap (0 if alike) between the keys of collapse cases and the bare keys of normal ones "
        f"is {listed(parts, MOST_NAMED)}."
    )


def gap(distances: pl.DataFrame) -> float | None:
    """The energy distance of both sets' bare keys, from one model's distances; None if unknown.

    >>> pairs = [("collapse bare", "normal bare"), ("normal bare", "normal bare")]
    >>> rows = [("collapse bare", "collapse bare", 0.1), *((*pair, 0.5) for pair in pairs)]
    >>> gap(pl.DataFrame(rows, schema=["first", "second", "mean"], orient="row"))
    0.4
    """
    means = {
        frozenset(pair): mean
        for *pair, mean in distances.select("first", "second", "mean").drop_nulls().iter_rows()
    }
    pairs = (BARE, BARE[:1], BARE[1:])
    known = [means[key] for pair in pairs if (key := frozenset(pair)) in means]
    if len(known) < len(pairs):
        return None
    between, first, second = known
    return float(2 * between - first - second)


def draw_gaps(study: ReportData, moved: pl.DataFrame, depth: pl.DataFrame) -> Figure:
    """A line of panels per model: gaps by length of the prefix, and by layer."""
    models = [model for model in study.models if model in moved["model"]]
    quantities = ("after prefixes", "first position by layer")
    titles = [f"{model}: {what}" for model in models for what in quantities]
    figure, grid = panels(titles, min(COLUMNS, len(titles)), GAP)
    sets, parts = (COLLAPSE, NORMAL), depth["part"].unique().sort().to_list()
    shown = marks((*sets, *parts))
    for place, model in enumerate(models):
        after, by_layer = grid[2 * place], grid[2 * place + 1]
        for reference in sets:
            rows = moved.filter(model=model, metric=COSINE, reference=reference).sort("length")
            lengths = [str(length) for length in rows["length"]]
            _line(after, lengths, rows["gap"], shown[reference], f"to bare {reference} keys")
        after.set_xlabel("tokens of the prefix")
        for part in parts:
            rows = depth.filter(model=model, part=part, position=0).sort("layer")
            _line(by_layer, rows["layer"].to_list(), rows["gap"], shown[part], part)
        by_layer.set_xlabel("layer")
        for axes in (after, by_layer):
            axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))
    grid[0].set_ylabel("gap (cosine)")
    handles = [line for axes in grid[:2] for line in axes.lines]
    legend_below(figure, handles, 4)
    return figure


def _line(axes: Axes, across: Sequence[Any], gaps: pl.Series, mark: Mark, label: str) -> None:
    (line,) = axes.plot(across, gaps.to_list(), color=mark.colour, label=label)
    line.set(marker=mark.marker, markersize=4, linewidth=1.3)


def draw_clouds(study: ReportData, points: pl.DataFrame) -> Figure:
    """A line of panels per model, with a legend below each column."""
    shown = [
        (model, name)
        for model in study.models
        for name in PANELS
        if not points.filter(model=model, panel=name).is_empty()
    ]
    titles = [f"{model}: {PANELS[name]}" for model, name in shown]
    figure, grid = panels(titles, min(len(PANELS), len(shown)), CLOUD)
    last = {name: axes for axes, (_, name) in zip(grid, shown, strict=True)}
    for axes, (model, name) in zip(grid, shown, strict=True):
        some = points.filter(model=model, panel=name)
        for cloud, mark in marks(some["cloud"].unique(maintain_order=True).to_list()).items():
            of_cloud = some.filter(cloud=cloud)
            across, up = of_cloud["x"].to_list(), of_cloud["y"].to_list()
            dots(axes, across, up, mark, size=9, alpha=0.7, label=cloud)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=SMALL)
        if (first := some["explained_x"][0]) is not None:
            axes.set_xlabel(f"{first:.0%} of variance", fontsize=SMALL)
            axes.set_ylabel(f"{some['explained_y'][0]:.0%} of variance", fontsize=SMALL)
    for axes in last.values():
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.25), frameon=False, fontsize=SMALL)
    return figure
