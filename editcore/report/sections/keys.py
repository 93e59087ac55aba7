"""The section on where keys are: projections, distances, prefixes, depth, and an encoder."""

from functools import partial

import polars as pl
from matplotlib.figure import Figure

from editcore.numbers import number, share
from editcore.records.mechanism_schemas import DEPTH, DISTANCES, MOVED, POINTS
from editcore.report.data import ReportData
from editcore.report.drawing.style import PALETTE, panel
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table

PANELS = {
    "directions": "C⁻¹k̄ and bare keys, each of unit length",
    "keys": "mean and bare keys",
    "first": "bare keys, first tokens’ keys, and collapse cases after a prefix",
    "encoder": "first and later tokens of the encoder’s last block",
}
TITLES = {
    "directions": "directions",
    "keys": "mean keys",
    "first": "first tokens",
    "encoder": "encoder",
}
METHODS = {"pca": "principal components", "t-sne": "t-SNE"}


def section(study: ReportData) -> PageSection | None:
    """Where keys are relative to each other."""
    points = study.table("mechanism-points", POINTS)
    distances = study.table("mechanism-distances", DISTANCES)
    moved = study.table("mechanism-moved", MOVED)
    depth = study.table("mechanism-depth", DEPTH)
    if points is None or distances is None or moved is None or depth is None:
        return None
    shown = points.select("model", "panel", "method").unique(maintain_order=True)
    drawings = [
        Drawing(
            f"keys-model={model}-panel={name}-method={method}",
            f"{PANELS[name].capitalize()} of {model}, by {METHODS[method]}.",
            partial(_cloud, points.filter(model=model, panel=name, method=method), model, name),
        )
        for model, name, method in sorted(shown.rows())
    ]
    drawings += [
        Drawing(
            f"moved-model={model}",
            f"Collapse cases of {model} after prefixes: the gap to both sets of bare keys.",
            partial(_moves, moved.filter(model=model, metric="cosine"), model),
        )
        for model in moved["model"].unique().sort()
    ]
    return PageSection(
        "keys",
        "Where the keys are",
        (
            "A projection can be misleading, so the tables give distances in the original space: "
            "one minus the cosine, and the Mahalanobis distance under C. They are means over "
            "pairs, with 95 % intervals from a bootstrap over the cases. Bare keys are those of "
            "the prompt alone; mean keys are averaged over the prefixes.",
            "The gap between two clouds is twice the mean distance between them minus the mean "
            "distances within each (an energy distance). It is about zero if both have the same "
            "distribution, however wide. By layer, it compares the keys at one position with those "
            "at later positions; if it is zero, position makes no difference. The encoder reads "
            "the same texts.",
        ),
        tuple(drawings),
        (_distances(distances), _moved(moved), _depth(depth)),
    )


def _cloud(points: pl.DataFrame, model: str, name: str) -> Figure:
    method = METHODS[points["method"][0]]
    labels = [f"first of two, by {method}", "second"]
    if (first := points["explained_x"][0]) is not None:
        second = points["explained_y"][0]
        labels = [f"first component, {first:.0%} of variance", f"second, {second:.0%}"]
    figure, axes = panel(f"{model}, {TITLES[name]}: {method}", *labels)
    clouds = points["cloud"].unique(maintain_order=True)
    for cloud, (colour, marker) in zip(clouds, PALETTE, strict=False):
        some = points.filter(cloud=cloud)
        across, up = some["x"].to_list(), some["y"].to_list()
        axes.scatter(
            across, up, s=14, marker=marker, color=colour, alpha=0.7, linewidths=0, label=cloud
        )
    axes.set_xticks([])
    axes.set_yticks([])
    figure.legend(loc="outside lower center", ncols=2, frameon=False, handletextpad=0.2)
    return figure


def _moves(moved: pl.DataFrame, model: str) -> Figure:
    figure, axes = panel(f"{model}: after prefixes", "tokens of the prefix", "gap (cosine)")
    for reference, (colour, marker) in zip(("collapse", "normal"), PALETTE, strict=False):
        rows = moved.filter(reference=reference).sort("length")
        lengths = [str(length) for length in rows["length"]]
        gaps = rows["gap"].to_list()
        axes.plot(lengths, gaps, color=colour, marker=marker, label=f"to bare {reference} keys")
    axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, handletextpad=0.2)
    return figure


def _distances(distances: pl.DataFrame) -> Table:
    rows = [
        (
            row["model"],
            row["first"],
            row["second"],
            row["metric"],
            number(row["mean"]),
            f"{number(row['low'])} to {number(row['high'])}",
            f"{row['n_first']:,} and {row['n_second']:,}",
        )
        for row in distances.iter_rows(named=True)
    ]
    heads = ("model", "from", "to", "distance", "mean", "95 %", "n")
    caption = "Mean distances within and between sets of keys. For C⁻¹k̄, only angles are measured."
    return Table(caption, heads, tuple(rows), 4)


def _moved(moved: pl.DataFrame) -> Table:
    rows = [
        (
            row["model"],
            f"{row['length']}",
            row["metric"],
            row["reference"],
            number(row["mean"]),
            f"{number(row['low'])} to {number(row['high'])}",
            number(row["gap"]),
            share(row["nearest"]),
            f"{row['n']:,}",
        )
        for row in moved.iter_rows(named=True)
    ]
    heads = ("model", "tokens", "distance", "to bare keys", "mean", "95 %", "gap", "nearest", "n")
    caption = (
        "Collapse cases after random prefixes. “Nearest”: the share of them whose nearest bare "
        "key, other than their own, is in that set."
    )
    return Table(caption, heads, tuple(rows), 4)


def _depth(depth: pl.DataFrame) -> Table:
    rows = [
        (
            row["model"],
            row["part"],
            f"{row['layer']}",
            f"{row['position'] + 1}",
            number(row["key_norm"]),
            number(row["key_cosine"]),
            number(row["state_norm"]),
            number(row["state_cosine"]),
            number(row["within"]),
            number(row["distance"]),
            number(row["gap"]),
        )
        for row in depth.iter_rows(named=True)
        if row["position"] <= 1
    ]
    heads = (
        *("model", "part", "layer", "position", "|key|", "cosine to mean key"),
        *("|state|", "cosine to mean state", "within", "to later", "gap"),
    )
    count = max(depth["n"].to_list(), default=0)
    caption = (
        f"First and second position by layer, over {count} rows of text that begin anywhere. "
        "“Within” and “to later”: mean 1 − cosine among the position’s keys and to later ones."
    )
    return Table(caption, heads, tuple(rows), 4)
